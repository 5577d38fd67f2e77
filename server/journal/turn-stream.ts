/**
 * `ctx.stream` and `info.stream`: what one turn writes to streams of its process.
 *
 * - M8: chunks are visible before the turn ends. The turn itself is stored first, so that whatever a reader sees
 *   belongs to a turn that will come to its end.
 * - A replay finds what the turn wrote already. Chunks of the handler itself are compared one by one and not written
 *   again; from the first that differs on they are void, which a reset says. Steps write under the number of their
 *   attempt: a new one begins with a reset of the one before. Where retention took away a part of what it wrote, a turn
 *   cannot tell what it wrote: all of it is void, and written again.
 * - A step's result and the end of a turn come after their chunks: whoever has the one can read the other.
 * - An end cannot be taken back, so it waits for the results that led to it. What a step closes ends with the result of
 *   the step, which says so to a replay: a step that runs again finds its stream open.
 */
import { createHash } from 'node:crypto'
import { RuntimeError } from '../../shared/error.ts'
import { encode } from '../../shared/value.ts'
import type { StepInfo } from '../definition/step.ts'
import type { StreamOut } from '../definition/stream.ts'
import {
  STREAM_RECORD_BYTES_MAX,
  STREAM_RECORDS_MAX,
  STREAMS_PER_PROCESS_MAX,
  type StreamRow,
  streamPath,
  type WrittenRecord,
} from '../store/stream.ts'
import type { DurableRecord } from './record.ts'
import { StreamTail } from './stream-writer.ts'
import type { Turn } from './turn.ts'
import { firstWait } from './wait.ts'

/** Content type of everything agents write: each chunk is one value. */
export const VALUE_TYPE = 'application/json'
const NAME = /^[^/\u0000-\u001f\u007f]{1,100}$/u

const encoder = new TextEncoder()

/** A stream as one turn has it: where it ends, and what of it is the turn's own. */
type Opened = {
  readonly tail: StreamTail
  readonly written: WrittenRecord[]
  /** Some of what the turn wrote may be pruned. */
  readonly torn: boolean
}

/** The streams of a turn. */
export class TurnStreams {
  readonly #turn: Turn
  readonly #opened = new Map<string, Promise<Opened>>()
  readonly #outs = new Map<string, Out>()
  /** Attempts that run, by step; an older one writes nothing more. */
  readonly #attempts = new Map<string, StepInfo>()
  /** Streams that were closed by steps whose result is not recorded, by step. */
  readonly #closed = new Map<string, Set<string>>()
  /** Streams that were closed by steps whose result is recorded. */
  readonly #ending = new Map<string, Promise<void>>()

  constructor(turn: Turn) {
    this.#turn = turn
  }

  /** Of the handler itself. */
  own(name: string): StreamOut {
    return this.#out(name, null, () => this.#turn.assertOpen())
  }

  /** For one attempt of a step. */
  ofStep(key: string, info: StepInfo, name: string): StreamOut {
    const current = this.#attempts.get(key)
    if (current === undefined || current.attempt < info.attempt) {
      this.#attempts.set(key, info)
      this.#closed.delete(key)
      for (const [place, out] of this.#outs) if (out.step === key) this.#outs.delete(place)
    }
    return this.#out(name, key, () => this.#assertRuns(key, info))
  }

  /** The step is done; resolves once its chunks are stored, null when it wrote none. */
  ended(key: string): Promise<void> | null {
    if (!this.#attempts.has(key)) return null
    return this.stored(key).then(() => void this.#attempts.delete(key))
  }

  /** Resolves once all that the handler, or this step, wrote is stored. */
  async stored(step: string | null = null): Promise<void> {
    for (const out of [...this.#outs.values()]) if (out.step === step) await out.flush()
    if (step === null) await Promise.all(this.#ending.values())
  }

  /** A step closed the stream: it counts when the step comes good. */
  closed(step: string, name: string): void {
    this.#closed.set(step, (this.#closed.get(step) ?? new Set<string>()).add(name))
  }

  /** What the step closed that has come good; undefined for nothing. */
  closedBy(step: string): readonly string[] | undefined {
    const names = this.#closed.get(step)
    return names === undefined ? undefined : [...names]
  }

  /** Whether a step has closed the stream, for itself or, with its result, for everybody. */
  isEnding(name: string, step: string | null): boolean {
    return this.#ending.has(name) || (step !== null && this.#closed.get(step)?.has(name) === true)
  }

  end(name: string): void {
    const ended = this.own(name).close()
    ended.catch(() => {}) // heard by the end of the turn
    this.#ending.set(name, ended)
  }

  #assertRuns(key: string, info: StepInfo): void {
    this.#turn.assertOpen()
    if (this.#attempts.get(key) === info && !info.signal.aborted) return
    const text = `Attempt ${info.attempt} of step ${key} is over; its stream cannot be written any more.`
    throw new RuntimeError('CONTEXT_CLOSED', text)
  }

  #out(name: string, step: string | null, assertOpen: () => void): StreamOut {
    assertOpen()
    if (!NAME.test(name)) {
      const text = `The stream name ${JSON.stringify(name.slice(0, 80))} is not possible.`
      throw new RuntimeError('REQUEST_INVALID', `${text} Use 1 to 100 characters without "/" and control characters.`)
    }
    const place = JSON.stringify([name, step])
    let out = this.#outs.get(place)
    if (out === undefined) {
      out = new Out({ turn: this.#turn, step, name, opened: () => this.#open(name), assertOpen })
      this.#outs.set(place, out)
    }
    return out
  }

  #open(name: string): Promise<Opened> {
    let opened = this.#opened.get(name)
    if (opened === undefined) {
      opened = this.#openNow(name)
      opened.catch(() => this.#opened.delete(name)) // heard by whoever writes; the next one tries again
      this.#opened.set(name, opened)
    }
    return opened
  }

  async #openNow(name: string): Promise<Opened> {
    const turn = this.#turn
    turn.accept()
    await turn.flushed()
    const { ports, record } = turn
    const path = streamPath(turn.process.id, name)
    const wanted = { process: record.pid, claim: record.claim, path, contentType: VALUE_TYPE }
    const known = record.streams?.get(name)
    const held = known?.problem === null ? known : undefined
    // A turn that is new has written nothing: it was not accepted before.
    if (held !== undefined && !turn.isAgain) return { tail: held, written: [], torn: false }
    if (held !== undefined) await ports.streams.flushed(held)
    const outcome = await ports.store.openStream(ports.node(), { ...wanted, turn: turn.isAgain ? turn.id : null })
    turn.assertOpen()
    if (outcome.kind === 'full') throw tooMany(turn.process.id)
    if (outcome.kind === 'refused') {
      throw new RuntimeError('FENCED', `Another node owns ${turn.process.id} now; nothing was written to ${path}.`)
    }
    const tail = held ?? new StreamTail(outcome.row)
    tail.floor = outcome.row.floor
    record.streams ??= new Map()
    record.streams.set(name, tail)
    const { written } = outcome
    return { tail, written: [...written], torn: turn.isAgain && isTorn(outcome.row, written) }
  }
}

type OutInit = {
  readonly turn: Turn
  readonly step: string | null
  readonly name: string
  readonly opened: () => Promise<Opened>
  readonly assertOpen: () => void
}

class Out implements StreamOut {
  readonly step: string | null
  readonly #init: OutInit
  /** Calls run one after the other: order is that of the calls, awaited or not. */
  #last: Promise<void> = Promise.resolve()
  #tail: StreamTail | null = null
  /** Valid chunks of an earlier run that were not repeated yet; handler only. */
  #again: WrittenRecord[] = []
  /** An earlier run of the handler closed it, and what it wrote is pruned: all of it stands there, unseen. */
  #unseen = false
  #attempt = 1

  constructor(init: OutInit) {
    this.#init = init
    this.step = init.step
  }

  write(chunk: unknown): Promise<void> {
    this.#init.assertOpen()
    const data = encoder.encode(encode(chunk))
    if (data.length > STREAM_RECORD_BYTES_MAX) throw tooLarge(this.#init.name, data.length)
    return this.#then(async () => {
      const tail = await this.#open()
      this.#init.assertOpen()
      if (this.#unseen || this.#isRepeated(data)) return
      if (streamsOf(this.#init.turn).isEnding(this.#init.name, this.step)) throw this.#isClosed()
      if (tail.next - tail.floor >= STREAM_RECORDS_MAX) await this.#lookAgain(tail)
      this.#writable(tail)
      this.#add(tail, data, false)
      await this.#init.turn.ports.streams.room(tail)
    })
  }

  append(chunk: unknown): Promise<void> {
    return this.write(chunk)
  }

  close(): Promise<void> {
    this.#init.assertOpen()
    return this.#then(async () => {
      const { turn } = this.#init
      const { streams } = turn.ports
      const tail = await this.#open()
      if (this.step !== null) {
        this.#init.assertOpen()
        await streams.flushed(tail)
        return streamsOf(turn).closed(this.step, this.#init.name)
      }
      // Chunks can be voided, an end cannot: a step that led here and ran again would find its stream closed.
      await turn.flushed()
      turn.process.wait ??= firstWait(turn.record) // the turn may wait for something else meanwhile
      this.#init.assertOpen()
      this.#unseen = false
      this.#voidRest(tail)
      if (!tail.closed) streams.end(tail)
      await streams.flushed(tail)
      turn.record.streams?.delete(this.#init.name)
    })
  }

  async flush(): Promise<void> {
    await this.#last
    if (this.#tail !== null) await this.#init.turn.ports.streams.flushed(this.#tail)
  }

  #then(work: () => Promise<void>): Promise<void> {
    const run = this.#last.then(() => {
      this.#init.assertOpen()
      return work()
    })
    this.#last = run.catch(() => {}) // heard by whoever awaits the call; the next one is judged for itself
    return run
  }

  async #open(): Promise<StreamTail> {
    if (this.#tail !== null) return this.#tail
    const { tail, written, torn } = await this.#init.opened()
    const mine = written.filter(({ step }) => step === this.step)
    const before = mine.reduce((most, { attempt }) => Math.max(most, attempt), 0)
    this.#tail = tail
    if (this.step === null) {
      this.#attempt = Math.max(1, before)
      this.#again = torn ? [] : validOf(mine)
      this.#unseen = torn && tail.closed
      if (torn && !tail.closed) this.#voidAll(tail)
      return tail
    }
    this.#attempt = before + 1
    const [first] = mine
    if (torn && !tail.closed) this.#reset(tail, 0)
    else if (first !== undefined) this.#reset(tail, first.pos)
    this.#remember(written, tail)
    return tail
  }

  /** A later attempt in this same run must find what this one writes. */
  #remember(written: WrittenRecord[], tail: StreamTail): void {
    const { step } = this
    written.push({ pos: tail.next, reset: false, step, attempt: this.#attempt, hash: '', to: null })
  }

  /** The chunk stands there since an earlier run of this turn. */
  #isRepeated(data: Uint8Array): boolean {
    const next = this.#again[0]
    if (next === undefined) return false
    if (next.hash === createHash('md5').update(data).digest('hex')) {
      this.#again.shift()
      return true
    }
    if (this.#tail !== null) this.#voidRest(this.#tail)
    return false
  }

  /** What an earlier run wrote and this one does not is void. */
  #voidRest(tail: StreamTail): void {
    const [next] = this.#again
    if (next === undefined) return
    this.#writable(tail)
    this.#again = []
    this.#attempt += 1
    this.#reset(tail, next.pos)
  }

  /** From wherever its chunks began: those of others are not touched by it. */
  #voidAll(tail: StreamTail): void {
    this.#attempt += 1
    this.#reset(tail, 0)
  }

  #reset(tail: StreamTail, to: number): void {
    this.#writable(tail)
    this.#add(tail, encoder.encode(String(to)), true)
    this.#init.turn.ports.crash.hit('stream:reset')
  }

  #add(tail: StreamTail, data: Uint8Array, reset: boolean): void {
    const { turn } = this.#init
    const attempt = this.#attempt
    turn.ports.streams.add(tail, { data, reset, turn: turn.id, step: this.step, attempt })
  }

  /** Records may have been pruned since. */
  async #lookAgain(tail: StreamTail): Promise<void> {
    const { namespace, store } = this.#init.turn.ports
    const row = await store.streamRow(namespace, tail.path)
    this.#init.assertOpen()
    if (row !== null) tail.floor = row.floor
  }

  #writable(tail: StreamTail): void {
    const { name, turn } = this.#init
    if (tail.problem !== null) throw tail.problem
    if (tail.closed || tail.closing) throw this.#isClosed()
    if (tail.next - tail.floor < STREAM_RECORDS_MAX) return
    const text = `The stream ${name} of ${turn.process.id} has ${STREAM_RECORDS_MAX} chunks, the most allowed.`
    throw new RuntimeError('STREAM_LIMIT', `${text} Begin another one.`)
  }

  #isClosed(): RuntimeError {
    const { name, turn } = this.#init
    return new RuntimeError('STREAM_CLOSED', `The stream ${name} of ${turn.process.id} is closed.`)
  }
}

/** With the result of the step that closed them. */
export function endStreams(turn: Turn, names: readonly string[]): void {
  for (const name of names) streamsOf(turn).end(name)
}

/** One turn writes at a time, so what is before its first record is of others; at the floor it may be its own. */
function isTorn({ floor, tail }: StreamRow, [first]: readonly WrittenRecord[]): boolean {
  return floor > 0 && (first === undefined ? floor >= tail : first.pos <= floor)
}

/** What was written and not voided by a later reset. */
function validOf(written: readonly WrittenRecord[]): WrittenRecord[] {
  let valid: WrittenRecord[] = []
  for (const record of written) {
    if (!record.reset) valid.push(record)
    else valid = valid.filter(({ pos }) => pos < (record.to ?? 0))
  }
  return valid
}

function tooLarge(name: string, bytes: number): RuntimeError {
  const text = `A chunk of the stream ${name} has ${bytes} bytes, the most allowed are ${STREAM_RECORD_BYTES_MAX}.`
  return new RuntimeError('STREAM_LIMIT', `${text} Write it in parts.`, { detail: { bytes } })
}

function tooMany(id: string): RuntimeError {
  const text = `${id} has ${STREAMS_PER_PROCESS_MAX} streams, the most allowed.`
  return new RuntimeError('STREAM_LIMIT', `${text} Set streams.maxAgeMs of the agent so that closed ones go.`)
}

export function streamInTurn(turn: Turn, name: string): StreamOut {
  turn.assertOpen()
  return streamsOf(turn).own(name)
}

export function streamsOf(turn: Turn): TurnStreams {
  turn.streams ??= new TurnStreams(turn)
  return turn.streams
}

export function streamOfStep(name: string): RuntimeError {
  const text = `A step writes streams with its own info.stream(${JSON.stringify(name)})`
  return new RuntimeError('REQUEST_INVALID', `${text}, so that readers can tell its attempts apart.`)
}

/** Chunks of the process are on their way to the store. */
export function hasUnstored({ streams }: DurableRecord): boolean {
  if (streams === null) return false
  return [...streams.values()].some((tail) => tail.problem === null && (tail.isDirty || tail.flying !== null))
}
