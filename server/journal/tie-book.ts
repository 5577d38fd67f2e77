/**
 * What one incarnation of a durable process is tied to, as far as its owner knows: the memory of rows (PROTOCOL P3).
 *
 * - It decides nothing that a row decides: a tie between durable processes works without it. It holds what is shown,
 *   which ties with ephemeral processes must be cut in the store once they were heard of, and what was dissolved while
 *   its signal may be on the way (K30, K39).
 * - It belongs to an incarnation and is emptied at its end.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { LinkChange, Loaded } from '../store/store.ts'

export type Tie =
  | { kind: 'link'; peer: ProcessId; ephemeral: boolean }
  | { kind: 'monitor'; peer: ProcessId; ref: string; ephemeral: boolean }

/** Dissolved ties remembered for a signal on its way. It is late by a commit, not by thousands of ties. */
const CUT_MAX = 10_000

/** When a tie was cut, before the commit that cuts it is stored. */
const NOT_STORED = Number.POSITIVE_INFINITY

export class TieBook {
  readonly names = new Set<string>()
  readonly #ties = new Map<string, Tie>()
  /** Epoch ms of the store by tie. */
  readonly #cut = new Map<string, number>()

  load({ links, names }: Pick<Loaded, 'links' | 'names'>): void {
    for (const name of names) this.names.add(name)
    for (const { kind, peer, ref, ephemeral } of links) {
      if (kind === 'link') this.made({ kind, peer, ephemeral })
      else if (kind === 'monitor') this.made({ kind, peer, ref: ref ?? '', ephemeral })
    }
  }

  ties(): Iterable<Tie> {
    return this.#ties.values()
  }

  made(tie: Tie): void {
    this.#ties.set(tie.kind === 'link' ? linkKey(tie.peer) : monitorKey(tie.ref), tie)
  }

  has(key: string): boolean {
    return this.#ties.has(key)
  }

  /** Heard of: it will not be heard of again. */
  forget(key: string): void {
    this.#ties.delete(key)
  }

  /** The changes of a turn that ended. From now on what is dissolved is not heard of any more. */
  ended(changes: readonly LinkChange[]): void {
    for (const change of changes) {
      if (change.kind === 'link') this.#cut.delete(linkKey(change.peer))
      else if (change.kind === 'unlink') this.#cutAt(linkKey(change.peer), NOT_STORED)
      else if (change.kind === 'demonitor') this.#cutAt(monitorKey(change.ref), NOT_STORED)
    }
  }

  /** The changes are stored: what a later tie of the same processes brings is heard of again. */
  stored(changes: readonly LinkChange[], at: number): void {
    for (const change of changes) {
      if (change.kind === 'child') continue // told of by its row alone
      if (change.kind === 'link') this.made({ kind: 'link', peer: change.peer, ephemeral: change.ephemeral === true })
      else if (change.kind === 'monitor') this.made({ ...change, ephemeral: change.ephemeral === true })
      else {
        const key = change.kind === 'unlink' ? linkKey(change.peer) : monitorKey(change.ref)
        this.forget(key)
        if (this.#cut.has(key)) this.#cut.set(key, at)
      }
    }
  }

  /** A refused row: what its turns dissolved still holds. */
  refused(): void {
    for (const [key, at] of this.#cut) if (at === NOT_STORED) this.#cut.delete(key)
  }

  /** Whether a signal of that time comes over a tie that was dissolved after it. */
  isCut(key: string, at: number): boolean {
    const cut = this.#cut.get(key)
    return cut !== undefined && at <= cut
  }

  #cutAt(key: string, at: number): void {
    this.#cut.set(key, at)
    if (this.#cut.size <= CUT_MAX) return
    for (const oldest of this.#cut.keys()) {
      this.#cut.delete(oldest)
      return
    }
  }
}

export function linkKey(peer: ProcessId): string {
  return `link ${peer}`
}

export function monitorKey(ref: string): string {
  return `monitor ${ref}`
}
