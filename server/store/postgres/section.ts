/**
 * A section of the commit: one JSON parameter and two CTEs or more, the rows whose head moved (`<key>_in`, with the
 * writing process in `pid`) and what is done with them (`<key>_out`).
 *
 * - Plans are generic and outlive the sizes they were made for: a stored row is reached by `key = any(array)` or by a
 *   lateral that cannot be flattened, so that no plan can read a whole table.
 */
import type { Commit } from '../store.ts'

/** Holds for processes whose head moved. The odd form keeps it a hashed lookup; as a join it could become quadratic. */
export const accepted = (pid: string): string => `(${pid} in (select process from moved)) is true`

export type Item = Record<string, unknown>

export type Section = {
  readonly key: string
  /** Columns of the JSON rows besides `pid`. */
  readonly columns: string
  items(commit: Commit): Item[]
  /** CTEs between the two, for work of several steps. `sends`: the statement stores messages of its own. */
  between?(q: string, rows: string, sends: boolean): string[]
  /** The last CTE; `rows` is the first. */
  sql(q: string, rows: string): string
  /** CTE of the rows that it puts into mailboxes besides the messages: whoever committed tells their targets. */
  readonly told?: string
  /** A result that divides by zero when the statement must see a later instant. */
  guard?(q: string): string
}

/** All CTEs of a section. */
export function sectionSql(section: Section, q: string, parameter: string, sends: boolean): string {
  const rows = `${section.key}_in`
  const between = (section.between?.(q, rows, sends) ?? []).map((cte) => `${cte},\n  `).join('')
  return `${rows} as materialized (
    select * from json_to_recordset(${parameter}::text::json) as x(pid bigint, ${section.columns})
    where ${accepted('x.pid')}),
  ${between}${section.key}_out as (${section.sql(q, rows)})`
}

/** The keys of all rows, so that the stored side is an index lookup whatever the plan. */
export const among = (column: string, rows: string, name: string): string =>
  `${column} = any(array(select ${name} from ${rows}))`
