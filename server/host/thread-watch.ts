/**
 * Blocks of the thread this runtime is in, as events and numbers: whose code held it, where, and for how long.
 *
 * - Told after the block ended, since nothing can be told by a thread that is held; the watchdog itself speaks on
 *   stderr about one that lasts (scheduler/hold-watch.ts).
 * - The process named is the one whose code ran when the watchdog looked. What ran just before or after may have had
 *   its part: the name is a strong hint, the duration is measured.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { RuntimeCore } from '../runtime.ts'
import { BEAT_MS } from '../scheduler/beat.ts'
import type { Hold } from '../scheduler/hold.ts'
import { WARN_MS, type Watch, type WatchOptions, watchThread } from '../scheduler/watchdog.ts'
import { BlockLog } from './block-log.ts'
import { RUNTIME_ID } from './complaint.ts'
import type { RuntimeOptions } from './options.ts'

/** What others read of it. */
export type Watching = Pick<ThreadWatch, 'warnMs' | 'watches' | 'blocks'>

/** Ms. Below this many beats a hold and an ordinary delay look the same. */
const WARN_MS_MIN = 4 * BEAT_MS

/** Null where nobody watches: it is switched off, or the time of the runtime is not that of the machine.
 *  @throws CONFIG_INVALID */
export function watchOptions({
  watchdog = {},
  clock,
}: Pick<RuntimeOptions, 'watchdog' | 'clock'>): WatchOptions | null {
  if (watchdog === false || clock !== undefined) return null
  const { warnMs } = watchdog
  if (warnMs === undefined || (Number.isFinite(warnMs) && warnMs >= WARN_MS_MIN)) return watchdog
  throw new RuntimeError(
    'CONFIG_INVALID',
    `watchdog.warnMs is ${warnMs}; it takes ${WARN_MS_MIN} or more milliseconds.`,
  )
}

export class ThreadWatch {
  readonly warnMs: number
  readonly blocks = new BlockLog()
  readonly #core: RuntimeCore
  readonly #watch: Watch | null

  constructor(core: RuntimeCore, options: WatchOptions) {
    this.#core = core
    this.warnMs = options.warnMs ?? WARN_MS
    this.#watch = watchThread(
      {
        holder: () => this.#holder(),
        held: (hold) => this.#held(hold),
        failed: (error) => core.complain('watching the thread', error),
      },
      options,
    )
  }

  /** False in a thread that cannot be looked into. */
  get watches(): boolean {
    return this.#watch !== null
  }

  async close(): Promise<void> {
    await this.#watch?.close()
  }

  #holder(): { id: ProcessId; incarnation: number; op: string | null } | null {
    const process = this.#core.telemetry.currentProcess()
    if (process === null || this.#core.kernel.find(process.id) !== process) return null
    return { id: process.id, incarnation: process.incarnation, op: process.current?.op ?? null }
  }

  #held({ durationMs, holder, stack }: Hold): void {
    const at = this.#core.clock.now()
    const { id, incarnation, op } = holder ?? { id: RUNTIME_ID, incarnation: 1, op: null }
    this.blocks.add({ id, op, durationMs, at })
    this.#core.bus.emit({ kind: 'thread:block', at, id, incarnation, op, durationMs, stack })
  }
}
