/**
 * Names of processes: one registry is either unique (one process per key) or duplicate (any number of entries).
 *
 * - K40: a key is free again before anybody learns of the death of its holder.
 * - K41: a refused registration leaves nothing behind.
 * - A process is registered by itself or by its runtime, only while alive; entries belong to the incarnation.
 * - `dispatch` runs in the caller and not at all when there is nothing under the key.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Process } from './process.ts'
import type { Holding } from './tie.ts'

export type RegistryMode = 'unique' | 'duplicate'

export type RegistryEntry = { readonly process: Process; value: unknown }

export class Registry implements Holding<Process> {
  readonly mode: RegistryMode
  readonly #entries = new Map<string, RegistryEntry[]>()
  readonly #keys = new Map<Process, Set<string>>()
  #count = 0

  constructor(mode: RegistryMode) {
    this.mode = mode
  }

  /** @throws NAME_TAKEN  another process holds the key of a unique registry
   *  @throws PROCESS_NOT_FOUND  the process is dead */
  register(process: Process, key: string, value: unknown = null): void {
    if (!process.alive) throw new RuntimeError('PROCESS_NOT_FOUND', `${process.id} is dead and cannot take ${key}.`)
    const entries = this.#entries.get(key)
    const holder = this.mode === 'unique' ? entries?.[0]?.process : undefined
    if (holder !== undefined) {
      throw new RuntimeError('NAME_TAKEN', `The name ${key} belongs to ${holder.id}.`, {
        detail: { holder: holder.id },
      })
    }
    if (entries === undefined) this.#entries.set(key, [{ process, value }])
    else entries.push({ process, value })
    const keys = this.#keys.get(process)
    if (keys === undefined) this.#keys.set(process, new Set([key]))
    else keys.add(key)
    this.#count += 1
    const tie = process.tie()
    tie.holdings ??= new Set()
    tie.holdings.add(this)
  }

  /** Removes all entries of the process under the key. False when there were none. */
  unregister(process: Process, key: string): boolean {
    const keys = this.#keys.get(process)
    if (keys?.delete(key) !== true) return false
    if (keys.size === 0) this.#keys.delete(process)
    this.#remove(process, key)
    return true
  }

  /** Holder of a unique key; null when nobody is. */
  whereis(key: string): Process | null {
    return this.#entries.get(key)?.[0]?.process ?? null
  }

  /** In order of registration. */
  lookup(key: string): readonly RegistryEntry[] {
    return this.#entries.get(key)?.slice() ?? []
  }

  keys(process: Process): string[] {
    return [...(this.#keys.get(process) ?? [])]
  }

  values(process: Process, key: string): unknown[] {
    return this.lookup(key).flatMap((entry) => (entry.process === process ? [entry.value] : []))
  }

  count(key?: string): number {
    return key === undefined ? this.#count : (this.#entries.get(key)?.length ?? 0)
  }

  /** Replaces the value of the holder's own entry; null when it has none. */
  update(process: Process, key: string, fn: (value: unknown) => unknown): { before: unknown; after: unknown } | null {
    const entry = this.#entries.get(key)?.find((item) => item.process === process)
    if (entry === undefined) return null
    const before = entry.value
    entry.value = fn(before)
    return { before, after: entry.value }
  }

  /** False when there is nothing under the key. */
  dispatch(key: string, fn: (entries: readonly RegistryEntry[]) => void): boolean {
    const entries = this.lookup(key)
    if (entries.length === 0) return false
    fn(entries)
    return true
  }

  release(process: Process): void {
    const keys = this.#keys.get(process)
    if (keys === undefined) return
    this.#keys.delete(process)
    for (const key of keys) this.#remove(process, key)
  }

  #remove(process: Process, key: string): void {
    const entries = this.#entries.get(key)
    if (entries === undefined) return
    const rest = entries.filter((entry) => entry.process !== process)
    this.#count -= entries.length - rest.length
    if (rest.length === 0) this.#entries.delete(key)
    else this.#entries.set(key, rest)
  }
}
