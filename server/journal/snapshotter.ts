/**
 * Snapshots in the background: taken when the patches since the last one outgrow it, so that activation stays cheap
 * and the hot path writes patches only.
 *
 * - F5: only forward and only under the current claim; the store checks both.
 * - V4: large values are stored before, one process at a time; those that an earlier row stored are only touched.
 * - Never while a turn is open: its base must stay loadable from a snapshot and later patches.
 */
import { encodeCopied } from '../../shared/value.ts'
import type { CrashPoints } from '../crash-point.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { NewBlob, NodeIdentity, Store } from '../store/store.ts'
import { detachValue } from './detach.ts'
import type { DurableRecord } from './record.ts'

/** Characters of patches below which no snapshot is taken, however small the state. */
export const PATCH_CHARACTERS_MIN = 16 * 1024
const BATCH_MAX = 50
/** Ms between two batches: snapshots must not compete with commits. */
const PAUSE_MS = 20

export type SnapshotterPorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  node(): NodeIdentity
  failed(error: unknown): void
}

export class Snapshotter {
  readonly #ports: SnapshotterPorts
  readonly #due = new Set<DurableRecord>()
  #running = false
  #closed = false
  taken = 0

  constructor(ports: SnapshotterPorts) {
    this.#ports = ports
  }

  consider(record: DurableRecord): void {
    if (record.patchBytes < PATCH_CHARACTERS_MIN || record.patchBytes < record.snapshotBytes) return
    if (record.openInStore || record.fenced) return
    this.#due.add(record)
    if (this.#running || this.#closed) return
    this.#running = true
    this.#ports.clock.after(PAUSE_MS, () => void this.#run())
  }

  close(): void {
    this.#closed = true
    this.#due.clear()
  }

  async #run(): Promise<void> {
    const { store, crash, node, clock } = this.#ports
    const batch = [...this.#due].slice(0, BATCH_MAX)
    const large: (readonly NewBlob[])[] = []
    const writes = batch.flatMap((record) => {
      this.#due.delete(record)
      if (record.openInStore || record.fenced || record.fresh !== undefined) return []
      const whole = encodeCopied(record.acked)
      record.patchBytes = 0
      record.snapshotBytes = whole.length
      const { text: value, blobs } = detachValue(whole)
      if (blobs.length > 0) large.push(blobs)
      const { pid, claim, seq, stateVersion } = record
      return [{ process: pid, claim, seq, stateVersion, value, blobs: blobs.map((blob) => blob.hash) }]
    })
    try {
      for (const blobs of large) {
        await store.writeBlobs(node(), blobs)
        crash.hit('blob:write')
      }
      if (writes.length > 0) await store.snapshot(node(), writes)
      crash.hit('snapshot:write')
      this.taken += writes.length
    } catch (error) {
      // A snapshot that failed costs time at the next activation, nothing else; the next patches bring it back here.
      this.#ports.failed(error)
    }
    if (this.#due.size > 0 && !this.#closed) clock.after(PAUSE_MS, () => void this.#run())
    else this.#running = false
  }
}
