/**
 * Bench `store-commit`: how many rows per second the store alone commits, and how long a lone commit takes.
 *
 * Measures: `Store.commit` on the embedded server (fsync on), 1,000 processes, batches of 250 rows with payloads of 172
 * bytes, three in flight; then the same with a message sent and one consumed per row; then one row at a time.
 * Leaves out: turns, patches, encoding, acknowledgement; the committer and the kernel have benches of their own.
 * Checked from SQL: every head stands at the number of its journal rows, and these add up to the rows acknowledged.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { realClock } from '../server/clock.ts'
import { startEmbedded } from '../server/store/embedded/embedded.ts'
import { migrate } from '../server/store/migrate.ts'
import type { PostgresConnection } from '../server/store/postgres/client.ts'
import { openPostgres } from '../server/store/postgres/postgres.ts'
import type { Claim, Commit, MessageRef, NodeIdentity, Pid, Store } from '../server/store/store.ts'

const PROCESSES = 1_000
const BATCH_ROWS = 250
const FLIGHTS = 3
const SECONDS = 4
const LONE_COMMITS = 1_000
const PAYLOAD = JSON.stringify([
  { k: 'end', turn: 'cart/0000.1', op: 'add', from: 'client/1', how: 'done', sent: 0, patches: 'p'.repeat(81) },
])

type Head = { pid: Pid; id: string; claim: Claim; seq: number; waiting: MessageRef[] }
type Metrics = { rowsPerSecond: number; rowsPerSecondWithMessage: number; loneP50Ms: number; loneP99Ms: number }

export async function run(): Promise<{ metrics: Metrics }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'vivarium-bench-'))
  const server = await startEmbedded({ dataDir })
  try {
    await migrate(server.connection)
    return { metrics: await measure(server.connection) }
  } finally {
    await server.release()
    await rm(dataDir, { recursive: true, force: true })
  }
}

async function measure(connection: PostgresConnection): Promise<Metrics> {
  const { store, close } = openPostgres({ connection, clock: realClock() })
  const node = await store.registerNode('bench', {
    ...{ name: 'bench', host: 'bench', bootId: 'bench', osPid: 1, osStartedAt: '0', capabilities: {}, leaseMs: 60_000 },
  })
  const heads = await claimAll(store, node)
  await flood(store, node, heads, { seconds: 1, messages: false })
  const rowsPerSecond = await flood(store, node, heads, { seconds: SECONDS, messages: false })
  const rowsPerSecondWithMessage = await flood(store, node, heads, { seconds: SECONDS, messages: true })
  const [loneP50Ms, loneP99Ms] = await lone(store, node, heads)
  await check(connection, heads)
  await store.leave(node)
  await close()
  return { rowsPerSecond, rowsPerSecondWithMessage, loneP50Ms, loneP99Ms }
}

async function claimAll(store: Store, node: NodeIdentity): Promise<Head[]> {
  const ids = Array.from({ length: PROCESSES }, (_, i) => `cart/${String(i).padStart(4, '0')}`)
  const outcomes = await store.claim(
    node,
    ids.map((id) => ({
      ...{ id, agent: 'cart', key: id.slice(5), kind: 'agent' as const, parent: null, stateVersion: 1 },
      ...{ create: true, recreate: false },
    })),
  )
  return outcomes.map((outcome) => {
    if (outcome.kind !== 'claimed') throw new Error(`A fresh process was ${outcome.kind}.`)
    return { pid: outcome.record.pid, id: outcome.record.id, claim: outcome.claim, seq: outcome.seq, waiting: [] }
  })
}

/** Each flight has a share of the processes of its own, as the committer has one commit per process in flight. */
async function flood(
  store: Store,
  node: NodeIdentity,
  heads: readonly Head[],
  { seconds, messages }: { seconds: number; messages: boolean },
): Promise<number> {
  const share = Math.floor(heads.length / FLIGHTS)
  const startedAt = performance.now()
  const until = startedAt + seconds * 1_000
  let rows = 0
  const fly = async (own: readonly Head[]) => {
    for (let at = 0; performance.now() < until; at = (at + BATCH_ROWS) % own.length) {
      const batch = Array.from(
        { length: Math.min(BATCH_ROWS, own.length) },
        (_, i) => own[(at + i) % own.length] as Head,
      )
      await commitAll(store, node, batch, messages)
      rows += batch.length
    }
  }
  await Promise.all(Array.from({ length: FLIGHTS }, (_, i) => fly(heads.slice(i * share, (i + 1) * share))))
  return Math.round((rows / (performance.now() - startedAt)) * 1_000)
}

async function commitAll(store: Store, node: NodeIdentity, heads: readonly Head[], messages: boolean): Promise<void> {
  const outcomes = await store.commit(
    node,
    heads.map((head) => row(head, messages)),
  )
  outcomes.forEach((outcome, i) => {
    const head = heads[i] as Head
    if (outcome.kind !== 'committed') throw new Error(`Row ${head.seq + 1} of ${head.id} was refused.`)
    head.seq += 1
    head.waiting = outcome.ords.map((ord) => ({ target: head.id, ord }))
  })
}

function row(head: Head, messages: boolean): Commit {
  const turn = `${head.id}.${head.seq + 1}`
  const meta = {
    ...{ stateVersion: 1, codeVersion: 'bench', turnIds: [turn] },
    ...{ cause: null, root: null, traceparent: null, actor: null },
  }
  const commit: Commit = {
    process: head.pid,
    id: head.id,
    seq: head.seq + 1,
    claim: head.claim,
    meta,
    payload: PAYLOAD,
  }
  if (head.waiting.length > 0) commit.consumed = head.waiting
  if (!messages) return commit
  const message = {
    ...{ id: `${turn}.0`, target: head.id, kind: 'send' as const, op: 'add', sender: head.id, n: head.seq },
    ...{ args: '{"sku":"a-1","quantity":2}', replyTo: null, cause: turn, root: turn, chain: [], traceparent: null },
    ...{ actor: null, deadline: null, timer: null },
  }
  return { ...commit, messages: [message] }
}

async function lone(store: Store, node: NodeIdentity, heads: readonly Head[]): Promise<[number, number]> {
  const times: number[] = []
  for (let i = 0; i < LONE_COMMITS; i++) {
    const startedAt = performance.now()
    await commitAll(store, node, [heads[i % heads.length] as Head], false)
    times.push(performance.now() - startedAt)
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => Math.round((times[Math.floor(times.length * share)] ?? 0) * 1_000) / 1_000
  return [at(0.5), at(0.99)]
}

async function check(connection: PostgresConnection, heads: readonly Head[]): Promise<void> {
  const sql = 'url' in connection ? postgres(connection.url, { max: 1 }) : postgres({ ...connection, max: 1 })
  const [found] = await sql<{ rows: number; wrong: number }[]>`
    select sum(h.seq)::float8 as rows, count(*) filter (where h.seq <> j.n)::int as wrong
    from vivarium.heads h join (select process, count(*) as n from vivarium.journal group by process) j using (process)`
  await sql.end()
  const acknowledged = heads.reduce((sum, head) => sum + head.seq, 0)
  if (found?.wrong === 0 && found.rows === acknowledged) return
  throw new Error(`Acknowledged ${acknowledged} rows, stored ${found?.rows}; ${found?.wrong} heads are wrong.`)
}
