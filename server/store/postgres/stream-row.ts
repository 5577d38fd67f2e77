/** Rows of streams and their records as SQL reads and takes them. */
import type { NewRecord } from '../stream.ts'
import { ms } from './context.ts'

/** Columns of a stream's row, as StreamRow names them. */
export function streamColumns(t: string): string {
  return `${t}.id, ${t}.path, ${t}.process, ${t}.claim, ${t}.content_type as "contentType", ${t}.config, ${t}.tail,
    ${t}.floor, ${t}.bytes, ${t}.closed, ${t}.closed_by as "closedBy", ${t}.writer_seq as "writerSeq",
    ${t}.ttl_s as "ttlS", ${ms(`${t}.expires_at`)} as "expiresAt", ${t}.fork_of as "forkOf", ${t}.gone,
    ${ms(`${t}.created_at`)} as "createdAt", ${ms(`${t}.touched_at`)} as "touchedAt"`
}

/** The time of the row is over. */
export function overSql(t: string): string {
  return `(coalesce(${t}.expires_at <= clock_timestamp(), false)
    or coalesce(${t}.touched_at + ${t}.ttl_s * interval '1 second' <= clock_timestamp(), false))`
}

export type RecordItem = Omit<NewRecord, 'data'> & { stream: number; pos: number; data: string }

export function recordItem(stream: number, pos: number, { data, ...rest }: NewRecord): RecordItem {
  const { buffer, byteOffset, byteLength } = data
  return { ...rest, stream, pos, data: Buffer.from(buffer, byteOffset, byteLength).toString('base64') }
}

/** SQL of a JSON list of RecordItem as rows. */
export const RECORDS = (parameter: string): string =>
  `json_to_recordset(${parameter}::text::json) as r(stream bigint, pos bigint, data text, reset boolean, turn text,
    step text, attempt int)`
