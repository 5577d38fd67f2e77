/** A connection for checkers: plain SQL on the tables of one schema. */
import postgres from 'postgres'

export type Connection = { host: string; port: number; user: string; password: string; database: string }

export type Rows = { readonly sql: postgres.Sql; readonly schema: string }

export function openRows(connection: Connection, schema: string): Rows & { close(): Promise<void> } {
  const sql = postgres({ ...connection, max: 1, onnotice: () => undefined })
  return { sql, schema, close: () => sql.end() }
}
