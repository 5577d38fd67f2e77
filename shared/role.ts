/**
 * Who may do what through any surface. Checked on the server for every request and frame; a page may hide a verb, but
 * hiding is a courtesy.
 *
 * - Roles contain each other: an admin is an operator, an operator is a viewer.
 */
import { RuntimeError } from './error.ts'

export const ROLES = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** `actor` is `role:name` as the audit keeps it, e.g. `operator:ana`, `api:local`, `cli:root`. */
export type Caller = { readonly actor: string; readonly roles: readonly Role[] }

export function hasRole(caller: Caller, role: Role): boolean {
  return caller.roles.some((held) => ROLES.indexOf(held) >= ROLES.indexOf(role))
}

/** @throws FORBIDDEN */
export function requireRole(caller: Caller, role: Role, what: string): void {
  if (hasRole(caller, role)) return
  const held = caller.roles.length === 0 ? 'no role' : `the role ${caller.roles.join(', ')}`
  throw new RuntimeError('FORBIDDEN', `${what} needs the role ${role}; ${caller.actor} has ${held}.`)
}

export function isRole(text: string): text is Role {
  return (ROLES as readonly string[]).includes(text)
}
