/**
 * Activation: claim first, load after (PROTOCOL F4), in batches, so that ten thousand processes cost forty round trips.
 *
 * - One activation of a process at a time: the kernel's process object in status `starting` is the single flight.
 * - An outage of the store delays activation; it never fails it and never costs a supervisor's intensity.
 */

import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { CrashPoints } from '../crash-point.ts'
import { type Clock, pause } from '../kernel/clock-port.ts'
import {
  blobMissing,
  type ClaimOutcome,
  type ClaimRequest,
  type Loaded,
  type NodeIdentity,
  type Store,
} from '../store/store.ts'
import { isPassing } from './store-failure.ts'

/** Processes of one claim statement; as the committer's batches, so that neither starves the other. */
export const ACTIVATIONS_MAX = 250
const RETRY_MS_FIRST = 50
const RETRY_MS_MAX = 2_000

export type Activated =
  | { kind: 'loaded'; outcome: Extract<ClaimOutcome, { kind: 'claimed' }>; loaded: Loaded }
  | Exclude<ClaimOutcome, { kind: 'claimed' }>

type Waiting = { request: ClaimRequest; resolve(activated: Activated): void; reject(error: Error): void }

export type ActivatorPorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  node(): NodeIdentity
  stopped(): boolean
  /** The epoch of the node is over; it joins anew, and the claim is tried again with the new one. */
  nodeFenced(): void
}

export class Activator {
  readonly #ports: ActivatorPorts
  #queue: Waiting[] = []
  #running = 0
  #scheduled = false
  /** Claims that were decided. A statement that is sent now is younger than each load that is counted. */
  count = 0

  constructor(ports: ActivatorPorts) {
    this.#ports = ports
  }

  activate(request: ClaimRequest): Promise<Activated> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled || this.#running >= 2) return
    this.#scheduled = true
    this.#ports.clock.macrotask(() => {
      this.#scheduled = false
      void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#running += 1
    try {
      while (this.#queue.length > 0) await this.#batch(this.#queue.splice(0, ACTIVATIONS_MAX))
    } finally {
      this.#running -= 1
    }
  }

  async #batch(batch: Waiting[]): Promise<void> {
    for (let wait = RETRY_MS_FIRST; ; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        await this.#try(batch)
        return
      } catch (error) {
        const failed = error instanceof Error ? error : new Error(String(error))
        const fenced = isRuntimeError(error, 'FENCED')
        if (fenced) this.#ports.nodeFenced()
        if ((fenced || isPassing(error)) && !this.#ports.stopped()) {
          await pause(this.#ports.clock, wait)
          continue
        }
        if (batch.length > 1) {
          // One id the store refuses must not keep the others from starting.
          for (const one of batch) await this.#batch([one])
          return
        }
        for (const one of batch) one.reject(unavailable(one.request.id, failed))
        return
      }
    }
  }

  async #try(batch: readonly Waiting[]): Promise<void> {
    const { store, crash } = this.#ports
    const node = this.#ports.node()
    const outcomes = await store.claim(
      node,
      batch.map((one) => one.request),
    )
    crash.hit('claim:taken')
    const pids = outcomes.flatMap((outcome) => (outcome.kind === 'claimed' ? [outcome.record.pid] : []))
    const loaded = new Map<number, Loaded>()
    if (pids.length > 0) for (const one of await store.load(node, pids)) loaded.set(one.process, one)
    crash.hit('activation:loaded')
    this.count += batch.length
    // N2: claimed by an epoch that is over; what it owns is for anybody.
    if (this.#ports.node().epoch !== node.epoch) throw epochOver(node)
    for (const [i, one] of batch.entries()) {
      const outcome = outcomes[i]
      const rows = outcome?.kind === 'claimed' ? loaded.get(outcome.record.pid) : undefined
      if (outcome === undefined) one.reject(unavailable(one.request.id, new Error('the store gave no outcome')))
      else if (outcome.kind !== 'claimed') one.resolve(outcome)
      else if (rows === undefined) one.reject(unavailable(one.request.id, new Error('its rows are missing')))
      else if (rows.missing !== undefined) one.reject(blobMissing(one.request.id, rows.missing))
      else one.resolve({ kind: 'loaded', outcome, loaded: rows })
    }
  }
}

function epochOver({ name, epoch }: NodeIdentity): RuntimeError {
  return new RuntimeError('FENCED', `Node ${name} joined anew while its epoch ${epoch} loaded processes.`)
}

function unavailable(id: ProcessId, cause: Error): RuntimeError {
  return new RuntimeError('STORE_UNAVAILABLE', `${id} could not be activated: ${cause.message.replace(/\.$/, '')}.`, {
    cause,
  })
}
