/** F3: heads as they are stored, to judge a commit whose outcome is unknown. */
import type { Head, NodeIdentity, Pid } from '../store.ts'
import type { Context } from './context.ts'
import { nodeValues } from './fenced.ts'
import { bigints, numberList } from './list.ts'

export async function heads({ read, q }: Context, processes: readonly Pid[]): Promise<Head[]> {
  const rows = await read.unsafe<Head[]>(
    `select process, seq, claim from ${q}heads where process = any(${bigints('$1')})`,
    [numberList(processes, (pid) => pid)],
    { prepare: true },
  )
  return rows.map(({ process, seq, claim }) => ({ process, seq, claim }))
}

/** A transaction that updated the row holds it until it is over, also when its client is gone; this waits for it. */
export async function settledHead({ read, q }: Context, process: Pid): Promise<Head | null> {
  const [head] = await read.unsafe<Head[]>(
    `select process, seq, claim from ${q}heads where process = $1::bigint for share`,
    [String(process)],
  )
  return head === undefined ? null : { process: head.process, seq: head.seq, claim: head.claim }
}

export async function epochAlive({ read, q }: Context, node: NodeIdentity): Promise<boolean> {
  const rows = await read.unsafe(
    `select 1 from ${q}nodes where id = $1::bigint and epoch = $2::bigint and namespace = $3::text`,
    nodeValues(node),
    { prepare: true },
  )
  return rows.length > 0
}
