/**
 * All rows of a sandbox copy taken away, in one transaction; what operators did to it stays in the audit (E12).
 *
 * - The row of the process is locked first and looked at under the lock: nobody claims it meanwhile, and a commit of
 *   whoever still runs it finds no head.
 */
import type { DiscardOutcome } from '../../../shared/process-file.ts'
import type { NodeIdentity } from '../store.ts'
import { begin } from './begin.ts'
import { patience } from './client.ts'
import { type Context, fence } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'

/** Ms. Journals of a long life are large; nobody waits for this. */
const TIMEOUT_MS = 120_000

export function discard({ read, q, crash }: Context, node: NodeIdentity, id: string): Promise<DiscardOutcome> {
  return begin(read, async (tx) => {
    await tx.unsafe(patience(TIMEOUT_MS))
    const [alive] = await tx.unsafe(`with ${fence(q)} select 1 from fence`, nodeValues(node))
    if (alive === undefined) throw nodeFenced(node)
    const [found] = await tx.unsafe<{ pid: number; sandbox: string | null; owned: boolean }[]>(
      `select p.pid, p.sandbox, exists (
         select 1 from ${q}nodes n where n.id = p.owner and n.epoch = p.owner_epoch) as owned
       from ${q}processes p where p.namespace = $1::text and p.id = $2::text for update`,
      [node.namespace, id],
    )
    if (found === undefined) return 'absent'
    if (found.sandbox === null) return 'kept'
    if (found.owned) return 'owned'
    for (const sql of byPid(q)) await tx.unsafe(sql, [found.pid])
    crash.hit('discard:middle')
    for (const sql of byId(q)) await tx.unsafe(sql, [node.namespace, id])
    return 'discarded'
  })
}

function byPid(q: string): string[] {
  const streams = `(select s.id from ${q}streams s where s.process = $1::bigint)`
  return [
    `delete from ${q}stream_records where stream in ${streams}`,
    `delete from ${q}stream_producers where stream in ${streams}`,
    `delete from ${q}streams where process = $1::bigint`,
    ...['journal', 'snapshots', 'waypoints', 'heads', 'timers', 'blob_refs'].map(
      (table) => `delete from ${q}${table} where process = $1::bigint`,
    ),
  ]
}

function byId(q: string): string[] {
  return [
    `delete from ${q}mailbox where namespace = $1::text and target = $2::text`,
    `delete from ${q}requests where namespace = $1::text and scope = $2::text`,
    `delete from ${q}links where namespace = $1::text and (process = $2::text or peer = $2::text)`,
    `delete from ${q}names where namespace = $1::text and process = $2::text`,
    `delete from ${q}failures where namespace = $1::text and process = $2::text`,
    `delete from ${q}dead_letters where namespace = $1::text and process = $2::text`,
    `delete from ${q}processes where namespace = $1::text and id = $2::text`,
  ]
}
