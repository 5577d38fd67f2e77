/**
 * Standard Schema 1: any validator (zod, valibot, ...) at the border of an agent. Only the part we call is typed here.
 *
 * A message is checked before it is stored or queued, so a handler never sees one that does not fit.
 */
import { RuntimeError } from '../../shared/error.ts'

export type StandardSchema<Output = unknown> = {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
  }
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] }

/** Issues named in a message; more help nobody. */
const ISSUES_SHOWN_MAX = 5

/** @throws SCHEMA_MISMATCH with the first issues and their paths */
export function checkSchema(schema: StandardSchema, value: unknown, what: string): unknown {
  const result = schema['~standard'].validate(value)
  if (result instanceof Promise) {
    throw new RuntimeError('SCHEMA_MISMATCH', `The schema of ${what} validates asynchronously, which a border cannot.`)
  }
  if (result.issues === undefined) return result.value
  const shown = result.issues.slice(0, ISSUES_SHOWN_MAX).map((issue) => `${pathOf(issue.path)}: ${issue.message}`)
  throw new RuntimeError('SCHEMA_MISMATCH', `${what} does not fit its schema. ${shown.join('; ')}.`, {
    detail: { issues: shown },
  })
}

function pathOf(path: readonly unknown[] | undefined): string {
  if (path === undefined || path.length === 0) return '$'
  return `$.${path.map(segment).join('.')}`
}

/** A segment is a key or, in the long form of the standard, an object that holds it. */
function segment(part: unknown): string {
  return typeof part === 'object' && part !== null ? String(Reflect.get(part, 'key')) : String(part)
}
