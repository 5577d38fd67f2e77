/**
 * A viewer of the feed without a socket: it keeps what it receives the way a page does, and checks every frame against
 * the grammar and the limits of the protocol.
 */
import { expect } from 'vitest'
import type { Wire } from '../../server/feed/backpressure.ts'
import { Feed, type FeedOptions } from '../../server/feed/server.ts'
import { type ClientFrame, type ServerFrame, serverFrameSchema } from '../../shared/frame.ts'
import type { Caller } from '../../shared/role.ts'
import { ToyWorld } from './toy-inspect.ts'
import { seededRandom, VirtualClock } from './virtual-clock.ts'

export const ADMIN: Caller = { actor: 'api:local', roles: ['admin'] }

type Kind<T extends ServerFrame['t']> = Extract<ServerFrame, { t: T }>

export class Viewer implements Wire {
  frames: ServerFrame[] = []
  bytes = 0
  /** Acknowledges each frame at once. */
  acking = true
  /** False: the socket takes nothing, what is sent piles up. */
  reading = true
  closed: { code: number; reason: string } | null = null
  terminated = false
  buffered = 0
  readonly #waiting: { bytes: number; taken: () => void }[] = []
  #feed: ReturnType<Feed['connect']> | null = null
  readonly unackedMax = new Map<string, number>()
  readonly #unacked = new Map<string, number>()

  constructor(feed: Feed, caller: Caller | null = ADMIN) {
    this.#feed = feed.connect(this, caller)
  }

  send(text: string, taken: () => void): void {
    const bytes = Buffer.byteLength(text)
    this.bytes += bytes
    const frame = serverFrameSchema.parse(JSON.parse(text))
    this.frames.push(frame)
    if (this.reading) taken()
    else {
      this.buffered += bytes
      this.#waiting.push({ bytes, taken })
    }
    if ('seq' in frame) this.#numbered(frame.id, frame.seq)
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason }
    this.#feed?.ended()
  }

  terminate(): void {
    this.terminated = true
    this.#feed?.ended()
  }

  /** The connection is lost without a word. */
  lose(): void {
    this.#feed?.ended()
  }

  /** The socket takes what piled up. */
  drain(): void {
    this.reading = true
    for (const { bytes, taken } of this.#waiting.splice(0)) {
      this.buffered -= bytes
      taken()
    }
  }

  say(frame: ClientFrame): void {
    this.#feed?.receive(JSON.stringify(frame))
  }

  sayText(text: string): void {
    this.#feed?.receive(text)
  }

  ack(id: string): void {
    const seq = Math.max(
      0,
      ...this.of('snap', 'delta', 'append', 'gap').map((frame) => (frame.id === id ? frame.seq : 0)),
    )
    this.#unacked.set(id, 0)
    this.say({ t: 'ack', id, seq })
  }

  of<T extends ServerFrame['t']>(...kinds: T[]): Kind<T>[] {
    return this.frames.filter((frame): frame is Kind<T> => (kinds as string[]).includes(frame.t))
  }

  /** Forgets what came so far and hands it out. */
  take(): ServerFrame[] {
    return this.frames.splice(0)
  }

  get session(): string {
    return this.of('hello')[0]?.session ?? ''
  }

  #numbered(id: string, seq: number): void {
    const unacked = (this.#unacked.get(id) ?? 0) + 1
    this.#unacked.set(id, unacked)
    this.unackedMax.set(id, Math.max(unacked, this.unackedMax.get(id) ?? 0))
    if (!this.acking) return
    queueMicrotask(() => {
      this.#unacked.set(id, Math.max(0, (this.#unacked.get(id) ?? 0) - 1))
      this.say({ t: 'ack', id, seq })
    })
  }
}

/** The rows of a latest-wins subscription as a page would hold them after these frames. */
export class Screen {
  rows = new Map<string, Record<string, unknown>>()
  order: string[] = []
  counts: Record<string, number> = {}
  seq = 0

  apply(frames: readonly ServerFrame[], id: string): this {
    for (const frame of frames) {
      if (!('seq' in frame) || frame.id !== id) continue
      if (frame.t === 'snap') this.seq = frame.seq - 1
      expect(frame.seq).toBe(this.seq + 1)
      this.seq = frame.seq
      if (frame.t === 'snap') {
        this.rows = new Map(frame.rows.map((row) => [row.id, row]))
        this.order = frame.rows.map((row) => row.id)
        this.counts = frame.counts
      } else if (frame.t === 'delta') {
        for (const row of frame.up) this.rows.set(row.id, row)
        for (const gone of frame.del) this.rows.delete(gone)
        this.order = frame.order ?? this.order
        this.counts = frame.counts ?? this.counts
        expect([...this.rows.keys()].sort()).toEqual([...this.order].sort())
      }
    }
    return this
  }
}

export function toyFeed(options: Partial<FeedOptions> = {}) {
  const world = new ToyWorld()
  const clock = new VirtualClock()
  const reported: unknown[] = []
  const feed = new Feed({
    inspect: world,
    control: world,
    guard: {
      admit: async () => ADMIN,
      identify: (token) => ({ actor: `viewer:${token}`, roles: ['viewer'] }),
    },
    clock,
    random: seededRandom(7),
    node: 'toy',
    version: '1.2.3',
    cpuMs: () => 0,
    report: (error) => reported.push(error),
    ...options,
  })
  return { world, clock, feed, reported }
}

/** `count` agents below a pool below a supervisor. */
export function populate(world: ToyWorld, count: number): void {
  world.add('supervisor/desk', { kind: 'supervisor', strategy: 'one_for_one' })
  world.add('pool/order', { kind: 'supervisor', parent: 'supervisor/desk', strategy: 'simple_one_for_one' })
  for (let i = 0; i < count; i++) world.add(`order/${i}`, { parent: 'pool/order' })
}
