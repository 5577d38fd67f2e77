/**
 * The door: decides for each request and each WebSocket upgrade who calls, before anything else looks at it.
 *
 * - H1: on loopback without credentials the Host must be a loopback name or listed. A page of another site whose name
 *   was rebound to 127.0.0.1 sends its own name, and is refused.
 * - H2: a request that writes or upgrades and carries an Origin must come from the very host it is sent to. Programs
 *   send no Origin; browsers always do.
 * - H3: with tokens or an `authorize` hook nobody is let in unnamed.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { RuntimeError } from '../../shared/error.ts'
import { type Caller, isRole, type Role } from '../../shared/role.ts'

export type Token = { readonly token: string; readonly name: string; readonly role: Role }

/** What the host's own login knows about a request; null lets nobody in. */
export type Authorize = (request: Request) => Promise<Authorized | null> | Authorized | null
export type Authorized = { readonly actor: string; readonly roles: readonly string[] }

export type GuardOptions = {
  /** Host names (`box.local`) or hosts with port (`box.local:4711`) besides the loopback names. */
  readonly allowedHosts?: readonly string[]
  readonly tokens?: readonly Token[]
  readonly authorize?: Authorize
}

export type Guard = {
  /** Whether callers must show who they are. */
  readonly named: boolean
  /** Null when the request carries no credentials although they are asked for.
   *  @throws HOST_REFUSED ORIGIN_REFUSED UNAUTHORIZED */
  admit(request: Request, writes: boolean): Promise<Caller | null>
  /** For a feed that sends its token in the first frame.  @throws UNAUTHORIZED */
  identify(token: string): Caller
}

/** Cookie that carries a token for browsers, which cannot put headers on a WebSocket. */
export const TOKEN_COOKIE = 'vivarium_token'

const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])
const LOCAL_ROLES: readonly Role[] = ['admin']
/** Local tools say their name; on loopback without credentials it is a courtesy, not a proof. */
const ACTOR_HEADER = 'vivarium-actor'
const LOCAL_ACTOR = /^(cli|api|mcp|test):[\w.@-]{1,64}$/

export function createGuard(options: GuardOptions): Guard {
  const { authorize, tokens = [], allowedHosts = [] } = options
  const named = authorize !== undefined || tokens.length > 0
  const known = tokens.map(({ token, name, role }) => ({ hash: digest(token), name, role }))
  const identify = (text: string): Caller => {
    const hash = digest(text)
    const found = known.find((each) => timingSafeEqual(each.hash, hash))
    if (found === undefined) throw new RuntimeError('UNAUTHORIZED', 'The token is not known here.')
    return { actor: `${found.role}:${found.name}`, roles: [found.role] }
  }
  const admit = async (request: Request, writes: boolean): Promise<Caller | null> => {
    const host = request.headers.get('host') ?? ''
    if (!named || allowedHosts.length > 0) checkHost(host, allowedHosts)
    if (writes) checkOrigin(request, host, allowedHosts)
    if (authorize !== undefined) return callerOf(await authorize(request))
    if (tokens.length === 0) return local(request)
    const token = tokenOf(request)
    return token === null ? null : identify(token)
  }
  return { named, admit, identify }
}

function local(request: Request): Caller {
  const said = request.headers.get(ACTOR_HEADER) ?? ''
  return { actor: LOCAL_ACTOR.test(said) ? said : 'api:local', roles: LOCAL_ROLES }
}

function callerOf(authorized: Authorized | null): Caller {
  if (authorized === null) throw new RuntimeError('UNAUTHORIZED', 'The host does not let this request in.')
  const { actor } = authorized
  return { actor: actor.includes(':') ? actor : `operator:${actor}`, roles: authorized.roles.filter(isRole) }
}

function checkHost(host: string, allowed: readonly string[]): void {
  const name = hostName(host)
  if (LOOPBACK_NAMES.has(name) || allowed.includes(host) || allowed.includes(name)) return
  const message = `The Host ${JSON.stringify(host)} is not served here. Use 127.0.0.1 or list it in allowedHosts.`
  throw new RuntimeError('HOST_REFUSED', message)
}

function checkOrigin(request: Request, host: string, allowed: readonly string[]): void {
  const origin = request.headers.get('origin')
  if (origin === null) {
    const site = request.headers.get('sec-fetch-site')
    if (site === null || site === 'same-origin' || site === 'none') return
    throw new RuntimeError('ORIGIN_REFUSED', `A page of another site (${site}) may not act here.`)
  }
  const from = originHost(origin)
  if (from !== null && (from === host || allowed.includes(from))) return
  throw new RuntimeError(
    'ORIGIN_REFUSED',
    `The page at ${JSON.stringify(origin)} may not act on ${JSON.stringify(host)}.`,
  )
}

function originHost(origin: string): string | null {
  const url = URL.parse(origin)
  return url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') ? null : url.host
}

/** Without the port: `127.0.0.1:4711` -> `127.0.0.1`, `[::1]:4711` -> `[::1]`. */
function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '')
}

function tokenOf(request: Request): string | null {
  const bearer = /^Bearer (\S+)$/i.exec(request.headers.get('authorization') ?? '')
  if (bearer?.[1] !== undefined) return bearer[1]
  for (const part of (request.headers.get('cookie') ?? '').split(';')) {
    const at = part.indexOf('=')
    if (at > 0 && part.slice(0, at).trim() === TOKEN_COOKIE) return decodeCookie(part.slice(at + 1).trim())
  }
  return null
}

function decodeCookie(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // not ours: it will match no token
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
