/**
 * What a thread of agents and its watchdog share: one page of memory, so that a thread that answers nobody can be read.
 *
 * - The watched thread writes all cells but the last; the watchdog writes that one.
 */

/** Ms between two beats of the watched thread, and between two looks of the watchdog. At 50 an idle runtime pays 0.6 %
 *  of a core for being watched (bench `watchdog`), at 25 twice that. */
export const BEAT_MS = 50

/** Cells of the shared page. */
const COUNT = 0
const DEBUGGED = 1
const TAKEN = 2
const CELLS = 3

export class Beat {
  readonly memory: SharedArrayBuffer
  readonly #cells: Int32Array
  readonly #late: Float64Array

  constructor(memory = new SharedArrayBuffer(8 + CELLS * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory
    this.#late = new Float64Array(memory, 0, 1)
    this.#cells = new Int32Array(memory, 8, CELLS)
  }

  /** @param lateMs  how much later than planned this beat is: for so long something else had the thread, at least. Less
   *  than a beat is nothing, and does not overwrite what the watchdog did not read yet
   *  @param debugged  a person looks at the thread with a debugger: what stands still then is meant to */
  strike(lateMs: number, debugged: boolean): void {
    if (lateMs >= BEAT_MS) this.#late[0] = lateMs
    Atomics.store(this.#cells, DEBUGGED, debugged ? 1 : 0)
    Atomics.add(this.#cells, COUNT, 1)
  }

  get count(): number {
    return Atomics.load(this.#cells, COUNT)
  }

  /** Of the last beat that came late. */
  get lateMs(): number {
    return this.#late[0] ?? 0
  }

  get debugged(): boolean {
    return Atomics.load(this.#cells, DEBUGGED) === 1
  }

  /** Stacks taken so far: code that holds the thread in a test can see that it was seen. */
  get taken(): number {
    return Atomics.load(this.#cells, TAKEN)
  }

  stackTaken(): void {
    Atomics.add(this.#cells, TAKEN, 1)
  }
}
