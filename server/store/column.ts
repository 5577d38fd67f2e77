/** Columns that tables share (schema.ts). */
import { sql } from 'drizzle-orm'
import { bigint, customType, type pgTable, timestamp } from 'drizzle-orm/pg-core'

export const bytes = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })
export const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' })
/** Names that are keys. Byte order: the same on every server, the cheapest to compare, and prefixes use the index. */
export const name = customType<{ data: string }>({ dataType: () => 'text collate "C"' })
export const surrogate = () => bigint({ mode: 'number' })
export const surrogateNamed = (column: string) => bigint(column, { mode: 'number' })
export const instant = () => timestamp({ withTimezone: true, mode: 'date' })
export const created = () => instant().notNull().default(sql`now()`)

/** Columns carry the names of the shared row type (in snake_case in SQL) and may add their own. */
export type Columns<Row> = Record<keyof Row, unknown> & Record<string, unknown>
export type MakeTable = typeof pgTable
