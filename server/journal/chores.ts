/** What keeps the store in order beside the work: large values nobody refers to, and what retention takes away. */
import type { AnyAgent } from '../definition/agent.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { NodeIdentity, Store } from '../store/store.ts'
import { BlobCollector } from './blob-collector.ts'
import { Pruner } from './pruner.ts'

export type ChoresPorts = {
  store: Store
  clock: Clock
  node(): NodeIdentity
  /** Every agent this code knows. */
  agents(): Iterable<AnyAgent>
  failed(what: string, error: unknown): void
}

export class Chores {
  readonly blobs: BlobCollector
  readonly pruner: Pruner

  constructor({ failed, ...ports }: ChoresPorts) {
    this.blobs = new BlobCollector({ ...ports, failed: (error) => failed('collecting blobs', error) })
    this.pruner = new Pruner({ ...ports, failed: (error) => failed('pruning', error) })
  }

  start(): void {
    this.blobs.start()
    this.pruner.start()
  }

  close(): void {
    this.blobs.close()
    this.pruner.close()
  }
}
