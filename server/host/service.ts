/**
 * The parts of the runtime itself as processes of the tree: rows of kind `service` below `vivarium/runtime`.
 *
 * - They are computed from the live objects when somebody reads them and cost nothing otherwise.
 * - They are hidden: a list has and counts them only where it is asked for them.
 * - They take no messages and no verbs: a service ends with its runtime.
 */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, splitId } from '../../shared/id.ts'
import type { Query } from '../../shared/query.ts'
import type { ProcessDetail, ProcessRow, StateSnapshot, Vitals, Wait } from '../../shared/snapshot.ts'
import type { Value } from '../../shared/value.ts'
import { LEASE_MS } from '../cluster/membership.ts'
import { recordOf } from '../journal/durable.ts'
import type { ProcessQuery } from '../observe/inspect.ts'
import type { RuntimeCore } from '../runtime.ts'
import { RUNTIME_ID } from './complaint.ts'

type Numbers = { readonly [name: string]: Value }

/** In the order of the list. */
const NAMES = [
  'committer',
  'compute',
  'database',
  'feed',
  'models',
  'node',
  'recovery',
  'retention',
  'snapshots',
  'timers',
  'tree',
  'watchdog',
] as const
type Name = (typeof NAMES)[number]

const IDS: ReadonlySet<ProcessId> = new Set([RUNTIME_ID, ...NAMES.map(idOf)])

export function isService(id: ProcessId): boolean {
  return IDS.has(id)
}

/** Whether a list is asked for services: by `hidden`, `agent`, `under`, or a term such as `kind:service`. */
export function asksForServices({ hidden, agent, under }: ProcessQuery, terms: Query | null): boolean {
  if (hidden === true || agent === 'vivarium') return true
  return (under !== undefined && isService(under)) || terms?.services === true
}

export function isServiceUnder(id: ProcessId, ancestor: ProcessId): boolean {
  return isService(id) && (id === ancestor || ancestor === RUNTIME_ID)
}

/** @throws SERVICE_PROTECTED */
export function refuseService(verb: string, id: ProcessId): void {
  if (!isService(id)) return
  const text = `${id} is a part of the runtime; without it no agent runs. It cannot take "${verb}".`
  throw new RuntimeError('SERVICE_PROTECTED', text, { detail: { id, verb } })
}

export class Services {
  readonly #core: RuntimeCore
  readonly #feed: () => Vitals['feed']

  constructor(core: RuntimeCore, feed: () => Vitals['feed']) {
    this.#core = core
    this.#feed = feed
  }

  rows(): ProcessRow[] {
    return [...IDS].map((id) => this.#row(id))
  }

  detail(id: ProcessId): ProcessDetail {
    const { startedAt } = this.#core
    return {
      ...this.#row(id),
      ...{ key: splitId(id).key, names: [], links: [], monitors: [], monitoredBy: [], trapExit: false },
      ...{ desired: 'running', startedAt, lastExit: null, supervisor: null, ops: [], mailboxLimit: 0 },
      ...{ placement: 'shared', stateBytes: null, current: null },
    }
  }

  /** Its vital numbers as they are now. */
  state(id: ProcessId): StateSnapshot {
    const name = NAMES.find((item) => id === idOf(item))
    const value = name === undefined ? this.#runtime() : this.#numbers(name)
    return { version: 0, value, seq: null, at: this.#core.clock.now() }
  }

  #row(id: ProcessId): ProcessRow {
    const { core, root } = { core: this.#core, root: id === RUNTIME_ID }
    const wait = this.#wait(id)
    return {
      ...{ id, kind: 'service', agent: 'vivarium', parent: root ? null : RUNTIME_ID },
      status: core.state === 'stopped' ? 'exited' : core.state === 'starting' ? 'starting' : statusOf(wait),
      ...{ incarnation: 1, mailbox: 0, turns: 0, busyMs: 0, restarts: 0, wait, stateVersion: 0, durable: false },
      ...{ depth: root ? 0 : 1, children: root ? NAMES.length : 0, failures: 0 },
      ...{ since: wait?.since ?? core.startedAt, strategy: null, node: core.node.name, hidden: true },
    }
  }

  /** What depends on the database waits for it. */
  #wait(id: ProcessId): Wait | null {
    const since = this.#core.layer.committer.downSince
    if (since === null || (id !== idOf('committer') && id !== idOf('database'))) return null
    return { kind: 'commit', target: this.#core.backend.place, since, deadline: null, attempt: 1 }
  }

  #runtime(): Numbers {
    const { state, namespace, startedAt, kernel, node } = this.#core
    return { state, namespace, node: node.name, startedAt, processes: kernel.size }
  }

  #numbers(name: Name): Numbers {
    const { layer, backend, node, membership, recovery } = this.#core
    const { committer, timers, snapshots, activator } = layer
    switch (name) {
      case 'committer': {
        const { batches, rows, latencyMs, refused, retries } = committer.stats
        const meanLatencyMs = batches === 0 ? 0 : latencyMs / batches
        return { up: committer.up, batches, rows, meanLatencyMs, refused, retries, inFlight: committer.flights }
      }
      case 'compute': {
        const { stats, plan } = this.#core.compute
        return { ...stats, threadsMax: plan.threads, memoryMb: plan.memoryMb, queueMax: plan.queueMax }
      }
      case 'database': {
        const { place, dataDir } = backend
        return { place, embedded: dataDir !== undefined, up: committer.up, downSince: committer.downSince }
      }
      case 'feed':
        return { ...this.#feed() }
      case 'models':
        return { ...this.#core.compute.models }
      case 'node': {
        const { renewedAt } = membership
        return { name: node.name, id: node.id, epoch: node.epoch, leaseMs: LEASE_MS, renewedAt }
      }
      case 'recovery':
        return { ...recovery.stats, activations: activator.count }
      case 'retention':
        return { ...layer.chores.pruner.stats, blobs: layer.chores.blobs.collected }
      case 'snapshots':
        return { taken: snapshots.taken }
      case 'timers':
        return { armed: this.#armed(), fired: timers.fired, next: timers.next }
      case 'tree':
        return { ...layer.book.count() }
      case 'watchdog': {
        const { watch } = this.#core
        return watch === null
          ? { watches: false }
          : { watches: watch.watches, warnMs: watch.warnMs, ...watch.blocks.stats }
      }
      default:
        return name satisfies never
    }
  }

  /** Timers of the processes that are in memory here. */
  #armed(): number {
    let armed = 0
    for (const process of this.#core.kernel.all()) armed += recordOf(process)?.armed.size ?? 0
    return armed
  }
}

function idOf(name: Name): ProcessId {
  return `vivarium/${name}`
}

function statusOf(wait: Wait | null): ProcessRow['status'] {
  return wait === null ? 'idle' : 'waiting'
}
