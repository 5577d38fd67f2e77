/**
 * The store on Postgres 15 and later: what each method does is in the query file of its name.
 *
 * - Every error that leaves is a StoreFailure (or a RuntimeError that is a verdict, such as FENCED).
 * - One handle per scheduler thread; its clients are its own, so threads never wait for each other's connections.
 */
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Clock } from '../../clock.ts'
import type { CrashPoints } from '../../crash-point.ts'
import { SCHEMA_DEFAULT } from '../schema.ts'
import type { Commit, NodeIdentity, Store, StoreHandle } from '../store.ts'
import { PostgresArchive } from './archive.ts'
import { collectBlobs, writeBlobs } from './blob.ts'
import { claim } from './claim.ts'
import { closeClients, openClients, type PostgresConnection } from './client.ts'
import { CommitStatement } from './commit.ts'
import { type Context, context, ms } from './context.ts'
import { setDesired } from './desired.ts'
import { discard } from './discard.ts'
import { enqueue, messages, take } from './enqueue.ts'
import { guarded } from './failure.ts'
import { fireTimers, nextTimer } from './fire-timers.ts'
import { epochAlive, heads, settledHead } from './heads.ts'
import { load } from './load.ts'
import { buryNode, leave, nodes, registerNode, renewLease } from './node.ts'
import { orphans } from './orphans.ts'
import { importProcess } from './process-file.ts'
import { prune } from './prune.ts'
import { release } from './release.ts'
import { awaitResult, request, requestRow } from './request.ts'
import { schemaName } from './schema-name.ts'
import { snapshot } from './snapshot.ts'
import { postgresStreams } from './stream.ts'
import { sweep } from './sweep.ts'
import { sweepTies } from './sweep-ties.ts'
import { transact } from './transact.ts'
import { waitEdges } from './wait-edge.ts'
import { whereis } from './whereis.ts'

export type PostgresOptions = {
  readonly connection: PostgresConnection
  /** `server_version_num`, as `migrate` found it: what newer ones can do for us is asked of them. */
  readonly serverVersion?: number
  readonly clock: Clock
  /** Postgres schema of the tables; `vivarium` by default. */
  readonly schema?: string
  readonly crash?: CrashPoints
}

/** Seconds that statements in flight get when the store is closed. */
const CLOSE_SECONDS = 5

/** Opens no connection yet: the first query does, and fails as `unavailable` when the server is away. */
export function openPostgres(options: PostgresOptions): StoreHandle {
  const schema = schemaName(options.schema ?? SCHEMA_DEFAULT)
  const clients = openClients(options.connection, options.serverVersion)
  const at = context(clients, schema, options.crash)
  let closing: Promise<void> | null = null
  const close = () => {
    closing ??= closeClients(clients, CLOSE_SECONDS)
    return closing
  }
  return { store: postgresStore(at, options.clock, close), archive: new PostgresArchive(at), close }
}

function postgresStore(at: Context, clock: Clock, close: () => Promise<void>): Store {
  const statement = new CommitStatement(at)
  drizzle(at.transaction) // gives the client the codecs that Drizzle expects of its transactions
  return {
    commit: (node: NodeIdentity, batch: readonly Commit[]) => statement.run(node, batch),
    transact: (node, work, options) => transact(at, node, { statement, work, clock, ...options }),
    settledHead: (process) => guarded(() => settledHead(at, process)),
    heads: (processes) => guarded(() => heads(at, processes)),
    epochAlive: (node) => guarded(() => epochAlive(at, node)),
    claim: (node, requests) => guarded(() => claim(at, node, requests)),
    load: (node, processes) => guarded(() => load(at, node, processes)),
    release: (node, claims) => guarded(() => release(at, node, claims)),
    snapshot: (node, writes) => guarded(() => snapshot(at, node, writes)),
    writeBlobs: (node, blobs) => guarded(() => writeBlobs(at, node, blobs)),
    collectBlobs: (node, step) => guarded(() => collectBlobs(at, node, step)),
    prune: (node, step) => guarded(() => prune(at, node, step)),
    sweep: (node, limit) => guarded(() => sweep(at, node, limit)),
    importProcess: (node, body, place) => guarded(() => importProcess(at, node, { body, place })),
    discard: (node, id) => guarded(() => discard(at, node, id)),
    enqueue: (node, list) => guarded(() => enqueue(at, node, list)),
    messages: (namespace, target, afterOrd, limit) =>
      guarded(() => messages(at, { namespace, target, afterOrd, limit })),
    waitEdges: (namespace, targets, limit) => guarded(() => waitEdges(at, { namespace, targets, limit })),
    take: (node, target, limit) => guarded(() => take(at, node, { target, limit })),
    request: (node, wanted) => guarded(() => request(at, node, wanted)),
    requestRow: (namespace, scope, key) => guarded(() => requestRow(at, { namespace, scope, key })),
    awaitResult: (node, wait) => guarded(() => awaitResult(at, node, wait)),
    sweepTies: (node, processes) => guarded(() => sweepTies(at, node, processes)),
    whereis: (namespace, name) => guarded(() => whereis(at, namespace, name)),
    fireTimers: (node, limit) => guarded(() => fireTimers(at, node, limit)),
    nextTimer: (namespace) => guarded(() => nextTimer(at, namespace)),
    orphans: (node, limit) => guarded(() => orphans(at, node, limit)),
    registerNode: (namespace, start) => guarded(() => registerNode(at, namespace, start)),
    renewLease: (node, leaseMs) => guarded(() => renewLease(at, node, leaseMs)),
    nodes: (namespace) => guarded(() => nodes(at, namespace)),
    buryNode: (node, victim, proof) => guarded(() => buryNode(at, node, { victim, proof })),
    leave: (node) => guarded(() => leave(at, node)),
    setDesired: (node, id, desired) => guarded(() => setDesired(at, node, { id, desired })),
    ...postgresStreams(at),
    clockOffset: () => guarded(() => clockOffset(at, clock)),
    close,
  }
}

/** The middle of the round trip is when the server looked at its clock, give or take half of it. */
async function clockOffset({ read }: Context, clock: Clock): Promise<number> {
  const before = clock.now()
  const [row] = await read.unsafe<{ now: number }[]>(`select ${ms('clock_timestamp()')} as now`)
  const after = clock.now()
  return row === undefined ? 0 : row.now - Math.round((before + after) / 2)
}
