/** What happened, in order: a number that two equal runs share, and on request the lines themselves. */

/** FNV-1a, 32 bits. */
const OFFSET = 0x811c9dc5
const PRIME = 0x01000193

export class Trace {
  readonly #print: ((line: string) => void) | null
  #hash = OFFSET
  lines = 0

  constructor(print: ((line: string) => void) | null = null) {
    this.#print = print
  }

  add(at: number, place: string, what: string): void {
    this.lines += 1
    this.#mix(place)
    this.#mix(what)
    this.#hash = Math.imul(this.#hash ^ Math.floor(at), PRIME)
    if (this.#print !== null && what !== 'macrotask' && what !== 'timer') {
      this.#print(`${(at / 1_000).toFixed(3).padStart(9)} ${place.padEnd(8)} ${what}`)
    }
  }

  #mix(text: string): void {
    for (let i = 0; i < text.length; i++) this.#hash = Math.imul(this.#hash ^ text.charCodeAt(i), PRIME)
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }
}
