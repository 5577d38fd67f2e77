/**
 * What is remembered of the blocks of a thread: sums since the start, and who held it lately.
 *
 * - Bounded: a process counts once, and only as many as a person would look at.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { ThreadBlock } from '../../shared/snapshot.ts'

/** Ms for which a block is worth a person's look. */
export const RECENT_MS = 300_000
/** Processes remembered; the one that was quiet for longest goes first. */
const RECENT_MAX = 50

export type RecentBlock = { readonly longest: ThreadBlock; readonly lastAt: number; readonly times: number }

export class BlockLog {
  #blocks = 0
  #blockedMs = 0
  #longest: ThreadBlock | null = null
  /** Latest last. */
  readonly #recent = new Map<ProcessId, RecentBlock>()

  get stats(): { blocks: number; blockedMs: number; longest: ThreadBlock | null } {
    return { blocks: this.#blocks, blockedMs: this.#blockedMs, longest: this.#longest }
  }

  add(block: ThreadBlock): void {
    this.#blocks += 1
    this.#blockedMs += block.durationMs
    this.#longest = longer(this.#longest, block)
    const known = this.#recent.get(block.id)
    this.#recent.delete(block.id)
    const goesOn = known !== undefined && block.at - known.lastAt <= RECENT_MS
    const longest = longer(goesOn ? known.longest : null, block)
    this.#recent.set(block.id, { longest, lastAt: block.at, times: (goesOn ? known.times : 0) + 1 })
    if (this.#recent.size <= RECENT_MAX) return
    for (const oldest of this.#recent.keys()) {
      this.#recent.delete(oldest)
      return
    }
  }

  recent(now: number): RecentBlock[] {
    return [...this.#recent.values()].filter(({ lastAt }) => now - lastAt <= RECENT_MS)
  }
}

function longer(a: ThreadBlock | null, b: ThreadBlock): ThreadBlock {
  return a !== null && a.durationMs >= b.durationMs ? a : b
}
