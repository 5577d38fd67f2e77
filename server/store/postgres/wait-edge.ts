/** M7: who waits for an answer of these processes, as the stored request rows say. Found by target, in key order. */
import type { ReplyAddress, WaitEdge } from '../store.ts'
import type { Context } from './context.ts'
import { textList, texts } from './list.ts'

type Row = { caller: string; pid: number; target: string; op: string; ord: number; reply_to: string }

export async function waitEdges(
  { read, q }: Context,
  at: { namespace: string; targets: readonly string[]; limit: number },
): Promise<WaitEdge[]> {
  if (at.targets.length === 0) return []
  const rows = await read.unsafe<Row[]>(
    `select m.sender as caller, p.pid, m.target, m.op, m.ord, m.reply_to from ${q}mailbox m
     join ${q}processes p on p.namespace = m.namespace and p.id = m.sender
     where m.namespace = $1::text and m.target = any(${texts('$2')}) and m.kind = 'call' and m.reply_to is not null
     order by m.ord limit $3::int`,
    [at.namespace, textList(at.targets, (id) => id), at.limit],
    { prepare: true },
  )
  return rows.flatMap(({ reply_to, ...edge }) => {
    const address = JSON.parse(reply_to) as ReplyAddress // written by commit-message.ts
    return address.kind === 'process' ? [{ ...edge, call: address.call }] : []
  })
}
