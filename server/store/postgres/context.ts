/**
 * What every query file is given: the clients and the schema to write into its text.
 */
import { type CrashPoints, NO_CRASH } from '../../crash-point.ts'
import type { Clients } from './client.ts'
import type { SchemaName } from './schema-name.ts'

export type Context = Clients & {
  /** Quoted and followed by a dot: `${q}nodes` in a text is the table of this runtime. */
  readonly q: string
  readonly schema: SchemaName
  readonly crash: CrashPoints
}

export function context(clients: Clients, schema: SchemaName, crash: CrashPoints = NO_CRASH): Context {
  return { ...clients, schema, crash, q: `"${schema}".` }
}

/** F2: the row every writing statement holds. Heartbeats do not wait on it, a takeover does. Parameters $1 to $3. */
export function fence(q: string): string {
  return `fence as materialized (
    select id from ${q}nodes where id = $1::bigint and epoch = $2::bigint and namespace = $3::text
    for key share)`
}

/** A timestamp column as epoch ms. */
export function ms(column: string): string {
  return `floor(extract(epoch from ${column}) * 1000)::float8`
}

/** A parameter in epoch ms as a timestamp. */
export function instant(parameter: string): string {
  return `to_timestamp(${parameter} / 1000.0)`
}
