/**
 * Randomness of a turn: the same numbers on every replay, because they follow from the turn's identity alone (T4).
 *
 * sfc32 seeded with four FNV-1a style words of the seed text: statistically sound, not for secrets.
 */
export class SeededRandom {
  readonly seed: string
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: string) {
    this.seed = seed
    const words = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 0xdeadbeef].map((start) => hash(seed, start))
    this.#a = words[0] ?? 0
    this.#b = words[1] ?? 0
    this.#c = words[2] ?? 0
    this.#d = words[3] ?? 1
    for (let i = 0; i < 12; i++) this.#next() // the first outputs still show the seed
  }

  /** Uniform in [0, 1). */
  float(): number {
    return this.#next() / 2 ** 32
  }

  /** RFC 9562 version 4. */
  uuid(): string {
    const hex = [this.#next(), this.#next(), this.#next(), this.#next()]
      .map((word) => word.toString(16).padStart(8, '0'))
      .join('')
    const variant = '89ab'[Number.parseInt(hex.charAt(16), 16) & 3] ?? '8'
    const groups = [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(13, 16)}`,
      variant + hex.slice(17, 20),
      hex.slice(20),
    ]
    return groups.join('-')
  }

  #next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t
    return t >>> 0
  }
}

function hash(text: string, start: number): number {
  let h = start
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h ^= h >>> 15
  h = Math.imul(h, 0x2c1b3c6d)
  return (h ^ (h >>> 12)) >>> 0
}
