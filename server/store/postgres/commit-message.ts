/**
 * Messages on their way into the mailbox: one list of columns for the commit and for `enqueue`.
 *
 * - M5: numbers are drawn in the order of the list, so rows of one sender keep their order.
 * - Columns that few messages have are sent only when some message of the batch has them.
 */
import type { NewMessage, Pid } from '../store.ts'
import { bigints, numberList, textList, texts } from './list.ts'

/** With the process whose commit carries it; 0 where none does. */
export type Sent = { readonly pid: Pid; readonly message: NewMessage }

type Column = { name: string; sql(parameter: string): string; value(sent: readonly Sent[]): string }

const text = (name: string, pick: (message: NewMessage) => string | null): Column => ({
  name,
  sql: texts,
  value: (sent) => textList(sent, (item) => pick(item.message)),
})
const number = (name: string, pick: (item: Sent) => number | null): Column => ({
  name,
  sql: bigints,
  value: (sent) => numberList(sent, pick),
})

const ALWAYS: readonly Column[] = [
  number('pid', (item) => item.pid),
  text('id', (m) => m.id),
  text('target', (m) => m.target),
  text('kind', (m) => m.kind),
  text('op', (m) => m.op),
  text('sender', (m) => m.sender),
  number('n', (item) => item.message.n),
  text('args', (m) => m.args),
  text('cause', (m) => m.cause),
  text('root', (m) => m.root),
  text('traceparent', (m) => m.traceparent),
  text('actor', (m) => m.actor),
]
const SELDOM: readonly Column[] = [
  text('reply_to', (m) => (m.replyTo === null ? null : JSON.stringify(m.replyTo))),
  text('chain', (m) => (m.chain.length === 0 ? null : JSON.stringify(m.chain))),
  number('deadline', (item) => item.message.deadline),
  text('timer_name', (m) => m.timer?.name ?? null),
  number('timer_arm', (item) => item.message.timer?.arm ?? null),
]

export function isSeldom(message: NewMessage): boolean {
  return message.replyTo !== null || message.chain.length > 0 || message.deadline !== null || message.timer !== null
}

export function messageValues(sent: readonly Sent[], seldom: boolean): string[] {
  return columns(seldom).map((column) => column.value(sent))
}

/** Two CTEs: `sent` gives each message its number, `delivered` stores those for which `where` holds. */
export function messageSql(q: string, parameter: () => string, options: { seldom: boolean; where: string }): string {
  const list = columns(options.seldom)
  const names = list.map((column) => column.name).join(', ')
  const stored = list.filter((column) => column.name !== 'pid').map((column) => column.name)
  const values = stored.map((name) => (name === 'deadline' ? 'to_timestamp(s.deadline / 1000.0)' : `s.${name}`))
  return `
  sent as materialized (
    select nextval('${q}ords') as ord, m.*
    from unnest(${list.map((column) => column.sql(parameter())).join(', ')}) with ordinality as m(${names}, k)),
  delivered as (
    insert into ${q}mailbox (namespace, ord, ${stored.join(', ')})
    select $3::text, s.ord, ${values.join(', ')} from sent s where ${options.where})`
}

/** Numbers in the order of the list, as one text. */
export const SENT_ORDS = `(select string_agg(ord::text, ',' order by k) from sent) as ords`

function columns(seldom: boolean): readonly Column[] {
  return seldom ? [...ALWAYS, ...SELDOM] : ALWAYS
}
