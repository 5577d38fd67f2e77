/**
 * The store in memory, for tests and simulation: the same verdicts as on Postgres, by the same contract suite.
 *
 * - Handles over one MemoryDatabase are nodes of one cluster. Closing a handle ends the handle, not the data.
 * - Each method is one synchronous transaction; answers arrive on a later microtask, as those of a server would.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Clock } from '../clock.ts'
import { MemoryArchive } from './memory/archive.ts'
import { collectBlobs, writeBlobs } from './memory/blob.ts'
import { claim, load, release, snapshot } from './memory/claim.ts'
import { commit } from './memory/commit.ts'
import { keyOf, MemoryDatabase } from './memory/database.ts'
import { discard } from './memory/discard.ts'
import {
  assertAlive,
  awaitResult,
  enqueue,
  fireTimers,
  messages,
  nextTimer,
  request,
  requestRow,
  take,
  waitEdges,
} from './memory/message.ts'
import { buryNode, leave, nodes, orphans, registerNode, renewLease } from './memory/node.ts'
import { importProcess } from './memory/process-file.ts'
import { prune, sweep } from './memory/prune.ts'
import { memoryStreams } from './memory/stream.ts'
import { sweepTies } from './memory/tie.ts'
import { type Store, StoreFailure, type StoreHandle } from './store.ts'

export { MemoryDatabase } from './memory/database.ts'

export function openMemory(database: MemoryDatabase | { readonly clock: Clock }): StoreHandle {
  const db = database instanceof MemoryDatabase ? database : new MemoryDatabase(database.clock)
  let open = true
  const close = async () => {
    open = false
  }
  const store = memoryStore(db, close)
  const guarded: Store = { ...store }
  for (const [name, method] of Object.entries(store) as [keyof Store, (...args: never[]) => Promise<unknown>][]) {
    if (name === 'close') continue
    const run = async (...args: never[]) => {
      if (!open) throw new StoreFailure('unavailable', 'The store is closed.')
      return method(...args)
    }
    Object.assign(guarded, { [name]: run })
  }
  return { store: guarded, archive: new MemoryArchive(db), close }
}

function memoryStore(db: MemoryDatabase, close: () => Promise<void>): Store {
  return {
    commit: async (node, batch) => commit(db, node, batch),
    transact: async () => {
      throw new RuntimeError(
        'TRANSACTION_UNSUPPORTED',
        'ctx.transaction needs Postgres: this runtime keeps its state in memory. ' +
          'Start it with `data` (an embedded Postgres) or with `databaseUrl` of the database that has your tables.',
      )
    },
    settledHead: async (process) => {
      const head = db.heads.get(process)
      return head === undefined ? null : { process, ...head }
    },
    heads: async (processes) =>
      processes.flatMap((process) => {
        const head = db.heads.get(process)
        return head === undefined ? [] : [{ process, ...head }]
      }),
    epochAlive: async (node) => db.alive(node),
    claim: async (node, requests) => {
      if (requests.length > 0) assertAlive(db, node)
      return requests.map((wanted) => claim(db, node, wanted))
    },
    load: async (_node, processes) => processes.map((pid) => load(db, pid)),
    release: async (node, claims) => release(db, node, claims),
    snapshot: async (node, writes) => snapshot(db, node, writes),
    writeBlobs: async (node, blobs) => writeBlobs(db, node, blobs),
    collectBlobs: async (node, step) => collectBlobs(db, node, step),
    prune: async (node, step) => prune(db, node, step),
    sweep: async (node, limit) => sweep(db, node, limit),
    importProcess: async (node, body, place) => importProcess(db, node, { body, place }),
    discard: async (node, id) => discard(db, node, id),
    enqueue: async (node, list) => enqueue(db, node, list),
    messages: async (namespace, target, afterOrd, limit) => messages(db, { namespace, target, afterOrd, limit }),
    waitEdges: async (namespace, targets, limit) => waitEdges(db, { namespace, targets, limit }),
    take: async (node, target, limit) => take(db, node, { target, limit }),
    request: async (node, wanted) => request(db, node, wanted),
    requestRow: async (namespace, scope, key) => requestRow(db, namespace, scope, key),
    awaitResult: async (node, wait) => awaitResult(db, node, wait),
    sweepTies: async (node, processes) => sweepTies(db, node, processes),
    whereis: async (namespace, name) => db.names.get(keyOf(namespace, name)) ?? null,
    fireTimers: async (node, limit) => fireTimers(db, node, limit),
    nextTimer: async (namespace) => nextTimer(db, namespace),
    orphans: async (node, limit) => orphans(db, node, limit),
    registerNode: async (namespace, start) => registerNode(db, namespace, start),
    renewLease: async (node, leaseMs) => renewLease(db, node, leaseMs),
    nodes: async (namespace) => nodes(db, namespace),
    buryNode: async (node, victim, proof) => buryNode(db, node, { victim, proof }),
    leave: async (node) => leave(db, node),
    setDesired: async (node, id, desired) => {
      const process = db.find(node.namespace, id)
      if (process === undefined || !db.alive(node)) return false
      process.desired = desired
      return true
    },
    ...memoryStreams(db),
    clockOffset: async () => 0,
    close,
  }
}
