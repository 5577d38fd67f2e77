/**
 * D6, V5: a due timer becomes a mailbox row by one delete-and-insert: it fires at most once, and never gets lost.
 * The due ones are found by the index on `due` and deleted where they lie: a join would read every armed timer.
 * Rivals skip each other's rows instead of waiting. The message carries the arm number; the owner drops it if disarmed
 * since.
 */
import type { MessageRow, NodeIdentity } from '../store.ts'
import { type Context, fence, ms } from './context.ts'
import { nodeValues } from './fenced.ts'
import { type MailboxRow, messageColumns, messageRow } from './message-row.ts'

export async function fireTimers({ read, q }: Context, node: NodeIdentity, limit: number): Promise<MessageRow[]> {
  const rows = await read.unsafe<MailboxRow[]>(fireSql(q), [...nodeValues(node), limit], { prepare: true })
  return rows.map(messageRow)
}

export function fireSql(q: string): string {
  return `with ${fence(q)},
  due as (
    select t.ctid as place from ${q}timers t, fence
    where t.namespace = $3::text and t.due <= now() order by t.due limit $4::int for update of t skip locked),
  fired as (
    delete from ${q}timers t where t.ctid = any(array(select place from due)) returning t.*),
  delivered as (
    insert into ${q}mailbox as m
      (namespace, target, ord, id, kind, op, n, args, root, traceparent, timer_name, timer_arm)
    select f.namespace, f.target, nextval('${q}ords'), 'timer/' || f.process || '/' || f.arm || '/' || f.name, 'timer',
      f.op, 0, f.args, f.root, f.traceparent, f.name, f.arm
    from (select * from fired order by due, process, arm) f
    returning m.*)
  select ${messageColumns('m')} from delivered m order by m.ord`
}

export function nextTimerSql(q: string): string {
  return `select ${ms('min(due)')} as due from ${q}timers where namespace = $1::text`
}

export async function nextTimer({ read, q }: Context, namespace: string): Promise<number | null> {
  const [row] = await read.unsafe<{ due: number | null }[]>(nextTimerSql(q), [namespace], { prepare: true })
  return row?.due ?? null
}
