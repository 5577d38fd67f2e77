/**
 * Takes away what is kept no longer of streams: old and surplus records by the policy of their agent, and streams whose
 * time is over.
 *
 * - Several nodes may do it at once. Agents that state no policy keep everything.
 */
import type { CrashPoints } from '../crash-point.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { NodeIdentity } from '../store/store.ts'
import type { StreamPolicy, StreamStore } from '../store/stream.ts'
import type { Chore } from './walk.ts'

/** Streams of one step, and records taken from each at once. */
const STEP_STREAMS = 100
const STEP_RECORDS = 1_000

/** Ms between two walks: how late a policy of minutes may be. */
export const STREAM_WALK_MS = 90_000

type Ports = {
  store: Pick<StreamStore, 'pruneStreams'>
  crash: CrashPoints
  node(): NodeIdentity
  agents(): Iterable<AnyAgent>
}

export class StreamPruner implements Chore {
  readonly stepMs = 250
  readonly walkMs = STREAM_WALK_MS
  readonly #ports: Ports
  #after = 0

  constructor(ports: Ports) {
    this.#ports = ports
  }

  async step(): Promise<boolean> {
    const { store, crash, node, agents } = this.#ports
    const policies = [...agents()].flatMap(policyOf)
    const step = { policies, after: this.#after, limit: STEP_STREAMS, records: STEP_RECORDS }
    const { records, cursor } = await store.pruneStreams(node(), step)
    if (records > 0) crash.hit('stream:pruned')
    // A step that took as much as it may has left more in the same streams.
    const again = records >= STEP_RECORDS
    if (!again) this.#after = cursor ?? 0
    return again || cursor !== null
  }
}

function policyOf({ name, streams: { maxAgeMs, maxBytes } }: AnyAgent): StreamPolicy[] {
  return maxAgeMs === null && maxBytes === null ? [] : [{ agent: name, maxAgeMs, maxBytes }]
}
