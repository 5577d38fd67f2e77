/**
 * The Postgres schema of a runtime, as text that may stand inside SQL. Hand-written queries qualify every name with it
 * and the search path of a connection is never changed, so a host's own pooling and two runtimes in one database work.
 */
import { RuntimeError } from '../../../shared/error.ts'

/** Identifiers Postgres stores as written: no quoting rules to get wrong, no folding, within its 63 bytes. */
const SCHEMA_NAME = /^[a-z_][a-z0-9_]{0,62}$/
const RESERVED = /^(pg_|public$|information_schema$)/

declare const checked: unique symbol
/** Proven to need no escaping beyond its quotes. */
export type SchemaName = string & { readonly [checked]: true }

/** @throws CONFIG_INVALID */
export function schemaName(name: string): SchemaName {
  if (SCHEMA_NAME.test(name) && !RESERVED.test(name)) return name as SchemaName // what the pattern just proved
  throw new RuntimeError(
    'CONFIG_INVALID',
    `Schema name ${JSON.stringify(name)} cannot be used. Take lower-case letters, digits and "_", at most 63, ` +
      'not beginning with "pg_" and not "public" or "information_schema".',
  )
}
