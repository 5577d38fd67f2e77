/**
 * Random values and random changes of them, from a seed: everything a state may hold, with the odd ones on purpose (-0,
 * keys that begin with `$`, NUL, lone surrogates, integer-like keys, empty containers). 64-bit generator (splitmix64).
 */
const PRIMITIVES = [null, true, false, 0, -0, 1.5, -7, 2 ** 53, 1e-300, '', 'text', '\u0000', '\ud800', '$n', 'ü€😀']

export class Generator {
  #state: bigint

  constructor(seed: number) {
    this.#state = BigInt(seed)
  }

  next(): number {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e3779b97f4a7c15n)
    let z = this.#state
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53
  }

  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T // callers hand in lists that are not empty
  }

  primitive(): string | number | boolean | null {
    return this.pick(PRIMITIVES)
  }

  key(): string {
    return this.pick(['a', 'b', 'c', '$date', '$', '$$x', '0', '10', '', ' ', 'constructor', '\u0000', '\ud800', 'é'])
  }

  value(depth = 3): unknown {
    const kind = depth === 0 ? this.below(3) : this.below(9)
    switch (kind) {
      case 3:
        return new Date(this.below(2 ** 40))
      case 4:
        return Uint8Array.from({ length: this.below(4) }, () => this.below(256))
      case 5:
        return new Set(Array.from({ length: this.below(4) }, () => this.primitive()))
      case 6:
        return new Map(Array.from({ length: this.below(4) }, () => [this.key(), this.value(depth - 1)]))
      case 7:
        return Array.from({ length: this.below(5) }, () => this.value(depth - 1))
      case 8:
        return Object.fromEntries(Array.from({ length: this.below(5) }, () => [this.key(), this.value(depth - 1)]))
      default:
        return this.primitive()
    }
  }

  /** Changes something somewhere below the draft. */
  mutate(root: unknown): void {
    const containers = containersOf(root)
    const at = this.pick(containers)
    if (Array.isArray(at)) this.#mutateArray(at, containers)
    else if (at instanceof Map) this.#mutateMap(at as Map<string, unknown>, containers)
    else if (at instanceof Set) this.#mutateSet(at)
    else this.#mutateObject(at as Record<string, unknown>, containers)
  }

  #mutateArray(at: unknown[], containers: readonly object[]): void {
    const i = this.below(at.length + 1)
    switch (this.below(10)) {
      case 0:
        return void at.push(this.value(2), this.value(1))
      case 1:
        return void at.pop()
      case 2:
        return void at.shift()
      case 3:
        return void at.unshift(this.value(1))
      case 4:
        return void at.splice(i, this.below(3), ...Array.from({ length: this.below(3) }, () => this.value(1)))
      case 5:
        return void at.reverse()
      case 6:
        return void at.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
      case 7:
        at.length = this.below(at.length + 1)
        return
      case 8:
        if (at.length > 0) at[i % at.length] = this.#moved(at, containers)
        return
      default:
        if (at.length > 0) at[i % at.length] = this.value(2)
    }
  }

  #mutateMap(at: Map<string, unknown>, containers: readonly object[]): void {
    const kind = this.below(5)
    if (kind === 0) at.delete(this.key())
    else if (kind === 1) at.clear()
    else if (kind === 2) at.set(this.key(), this.#moved(at, containers))
    else at.set(this.key(), this.value(2))
  }

  #mutateSet(at: Set<unknown>): void {
    const kind = this.below(4)
    if (kind === 0) at.delete(this.primitive())
    else if (kind === 1 && this.below(3) === 0) at.clear()
    else at.add(this.primitive())
  }

  #mutateObject(at: Record<string, unknown>, containers: readonly object[]): void {
    const kind = this.below(5)
    const key = this.key()
    if (kind === 0) delete at[key]
    else if (kind === 1) {
      const value = Object.hasOwn(at, key) ? at[key] : undefined
      delete at[key]
      if (value !== undefined) at[key] = value
    } else if (kind === 2) at[key] = this.#moved(at, containers)
    else at[key] = this.value(2)
  }

  /** Something that stands elsewhere already; never a container that holds `into`, which would be a cycle. */
  #moved(into: object, containers: readonly object[]): unknown {
    const item = this.pick(containers)
    return item === into || containersOf(item).includes(into) ? this.primitive() : item
  }
}

function containersOf(root: unknown, found = new Set<object>()): object[] {
  collect(root, found)
  return [...found]
}

function collect(at: unknown, found: Set<object>): void {
  if (typeof at !== 'object' || at === null || at instanceof Date || at instanceof Uint8Array) return
  if (found.has(at)) return
  found.add(at)
  if (at instanceof Set) return
  for (const item of at instanceof Map ? at.values() : Object.values(at)) collect(item, found)
}
