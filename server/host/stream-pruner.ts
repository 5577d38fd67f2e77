/**
 * Takes away what is kept no longer of streams: old and surplus records by the policy of their agent, and streams whose
 * time is over.
 *
 * - A walk over all streams in small steps with long pauses between walks; several nodes may walk at once.
 * - Agents that state no policy keep everything.
 */
import type { AnyAgent } from '../definition/agent.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { NodeIdentity } from '../store/store.ts'
import type { StreamPolicy, StreamStore } from '../store/stream.ts'

/** Streams of one step, and records taken from each at once. */
const STEP_STREAMS = 100
const STEP_RECORDS = 1_000
/** Ms between two steps of a walk. */
const STEP_MS = 250
/** Ms between two walks: how late a policy of minutes may be. */
const WALK_MS = 60_000

export type StreamPrunerPorts = {
  readonly store: Pick<StreamStore, 'pruneStreams'>
  readonly clock: Clock
  node(): NodeIdentity
  agents(): Iterable<AnyAgent>
  failed(error: unknown): void
}

export class StreamPruner {
  readonly #ports: StreamPrunerPorts
  #timer: Timer | null = null
  #after = 0
  /** The last step took as much as it may: there is more of the same streams. */
  #again = false
  #closed = false

  constructor(ports: StreamPrunerPorts) {
    this.#ports = ports
  }

  start(): void {
    this.#arm(WALK_MS)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #arm(ms: number): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(ms, () => void this.#step())
    this.#timer.keepAlive(false)
  }

  async #step(): Promise<void> {
    const { store, node, failed } = this.#ports
    const policies = [...this.#ports.agents()].flatMap(policyOf)
    try {
      const step = { policies, after: this.#after, limit: STEP_STREAMS, records: STEP_RECORDS }
      const { records, cursor } = await store.pruneStreams(node(), step)
      this.#again = records >= STEP_RECORDS
      if (!this.#again) this.#after = cursor ?? 0
      this.#arm(this.#again || cursor !== null ? STEP_MS : WALK_MS)
    } catch (error) {
      // The walk goes on where it is after the next pause.
      failed(error)
      this.#arm(WALK_MS)
    }
  }
}

function policyOf({ name, streams: { maxAgeMs, maxBytes } }: AnyAgent): StreamPolicy[] {
  return maxAgeMs === null && maxBytes === null ? [] : [{ agent: name, maxAgeMs, maxBytes }]
}
