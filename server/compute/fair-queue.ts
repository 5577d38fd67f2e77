/**
 * A queue in which owners take turns: one who asks for a thousand things does not keep the others waiting for all of
 * them.
 *
 * - Items of one owner stay in their order. Owners come in the order in which they last were served, or first asked.
 */
export class FairQueue<T> {
  readonly #owners = new Map<string, Set<T>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(owner: string, item: T): void {
    const items = this.#owners.get(owner)
    if (items === undefined) this.#owners.set(owner, new Set([item]))
    else items.add(item)
    this.#size += 1
  }

  /** False when it is not in the queue. */
  delete(owner: string, item: T): boolean {
    const items = this.#owners.get(owner)
    if (items?.delete(item) !== true) return false
    this.#size -= 1
    if (items.size === 0) this.#owners.delete(owner)
    return true
  }

  /** The next item, out of the queue; its owner goes to the end. */
  take(): T | null {
    for (const [owner, items] of this.#owners) {
      for (const item of items) {
        this.delete(owner, item)
        this.#owners.delete(owner)
        if (items.size > 0) this.#owners.set(owner, items)
        return item
      }
    }
    return null
  }

  /** All items, out of the queue. */
  clear(): T[] {
    const all = [...this.#owners.values()].flatMap((items) => [...items])
    this.#owners.clear()
    this.#size = 0
    return all
  }
}
