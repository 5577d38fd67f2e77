/** A row of `mailbox` as the store's interface shows it. */
import type { MessageKind, MessageRow, ReplyAddress } from '../store.ts'
import { ms } from './context.ts'

export type MailboxRow = {
  ord: number
  id: string
  target: string
  kind: MessageKind
  op: string
  sender: string | null
  n: number
  args: string
  reply_to: string | null
  cause: string | null
  root: string | null
  chain: string | null
  traceparent: string | null
  actor: string | null
  deadline: number | null
  timer_name: string | null
  timer_arm: number | null
  attempts: number
  recoveries: number
  at: number
}

const PLAIN = [
  ...['ord', 'id', 'target', 'kind', 'op', 'sender', 'n', 'args', 'reply_to', 'cause', 'root', 'chain'],
  ...['traceparent', 'actor', 'timer_name', 'timer_arm', 'attempts', 'recoveries'],
]

/** Columns of `alias` under the names of MailboxRow. */
export function messageColumns(alias: string): string {
  return [
    ...PLAIN.map((name) => `${alias}.${name}`),
    `${ms(`${alias}.deadline`)} as deadline`,
    `${ms(`${alias}.at`)} as at`,
  ].join(', ')
}

export function messageRow(row: MailboxRow): MessageRow {
  return {
    ord: row.ord,
    id: row.id,
    target: row.target,
    kind: row.kind,
    op: row.op,
    sender: row.sender,
    n: row.n,
    args: row.args,
    replyTo: row.reply_to === null ? null : (JSON.parse(row.reply_to) as ReplyAddress), // written by commit-message.ts
    cause: row.cause,
    root: row.root,
    chain: row.chain === null ? [] : (JSON.parse(row.chain) as string[]), // as above
    traceparent: row.traceparent,
    actor: row.actor,
    deadline: row.deadline,
    timer: row.timer_name === null || row.timer_arm === null ? null : { name: row.timer_name, arm: row.timer_arm },
    attempts: row.attempts,
    recoveries: row.recoveries,
    at: row.at,
  }
}
