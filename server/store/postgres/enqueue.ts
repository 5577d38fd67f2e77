/** Messages without a sender's turn: from outside, from the runtime itself, and what lies in the mailbox. */
import type { MessageRow, NewMessage, NodeIdentity } from '../store.ts'
import { isSeldom, messageSql, messageValues, SENT_ORDS } from './commit-message.ts'
import { type Context, fence } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'
import { type MailboxRow, messageColumns, messageRow } from './message-row.ts'

/** All or none; numbers in the order of `messages`.
 *  @throws FENCED */
export async function enqueue({ commit, q }: Context, node: NodeIdentity, messages: readonly NewMessage[]) {
  if (messages.length === 0) return []
  const seldom = messages.some(isSeldom)
  const sent = messages.map((message) => ({ pid: 0, message }))
  const [row] = await commit.unsafe<{ alive: boolean; ords: string }[]>(
    enqueueSql(q, seldom),
    [...nodeValues(node), ...messageValues(sent, seldom)],
    { prepare: true },
  )
  if (row?.alive !== true) throw nodeFenced(node)
  return row.ords.split(',').map(Number)
}

function enqueueSql(q: string, seldom: boolean): string {
  let used = 3
  const messages = messageSql(q, () => `$${++used}`, { seldom, where: 'exists (select 1 from fence)' })
  return `with ${fence(q)}, ${messages} select exists (select 1 from fence) as alive, ${SENT_ORDS}`
}

export async function messages(
  { read, q }: Context,
  at: { namespace: string; target: string; afterOrd: number; limit: number },
): Promise<MessageRow[]> {
  const rows = await read.unsafe<MailboxRow[]>(
    `select ${messageColumns('m')} from ${q}mailbox m
     where m.namespace = $1::text and m.target = $2::text and m.ord > $3::bigint order by m.ord limit $4::int`,
    [at.namespace, at.target, at.afterOrd, at.limit],
    { prepare: true },
  )
  return rows.map(messageRow)
}

/** Takes rows of a pseudo target away: each is handed to one caller only. */
export async function take(
  { read, q }: Context,
  node: NodeIdentity,
  from: { target: string; limit: number },
): Promise<MessageRow[]> {
  const rows = await read.unsafe<MailboxRow[]>(
    `with ${fence(q)},
     first as (
       select m.ord from ${q}mailbox m, fence where m.namespace = $3::text and m.target = $4::text
       order by m.ord limit $5::int for update of m skip locked),
     gone as (
       delete from ${q}mailbox m using first f
       where m.namespace = $3::text and m.target = $4::text and m.ord = f.ord returning m.*)
     select ${messageColumns('m')} from gone m order by m.ord`,
    [...nodeValues(node), from.target, from.limit],
    { prepare: true },
  )
  return rows.map(messageRow)
}
