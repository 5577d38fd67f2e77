/** What keeps the store in order beside the work: values nobody refers to, what retention takes away, old streams. */
import type { CrashPoints } from '../crash-point.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { NodeIdentity, Store } from '../store/store.ts'
import { BlobCollector } from './blob-collector.ts'
import { Pruner } from './pruner.ts'
import { StreamPruner } from './stream-pruner.ts'
import { type Chore, Walk } from './walk.ts'

export type ChoresPorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  node(): NodeIdentity
  /** Every agent this code knows. */
  agents(): Iterable<AnyAgent>
  failed(what: string, error: unknown): void
}

export class Chores {
  readonly blobs: BlobCollector
  readonly pruner: Pruner
  readonly #walks: readonly Walk[]

  constructor(ports: ChoresPorts) {
    const { clock, failed } = ports
    const walk = (chore: Chore, what: string): Walk => new Walk(chore, clock, (error) => failed(what, error))
    this.blobs = new BlobCollector(ports)
    this.pruner = new Pruner(ports)
    this.#walks = [
      walk(this.blobs, 'collecting blobs'),
      walk(this.pruner, 'pruning'),
      walk(new StreamPruner(ports), 'pruning streams'),
    ]
  }

  start(): void {
    for (const walk of this.#walks) walk.start()
  }

  close(): void {
    for (const walk of this.#walks) walk.close()
  }
}
