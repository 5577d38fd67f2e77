/**
 * Streams of one node: the surfaces' way to the store, and who is told when a stream changed.
 *
 * - R5: readers of one stream share one look at the store every STREAM_POLL_MS, for what other nodes write; what this
 *   node writes is told at once. Without a reader nothing is looked at.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { decode } from '../../shared/value.ts'
import type { CrashPoints } from '../crash-point.ts'
import { StreamWriter } from '../journal/stream-writer.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import {
  itemOf,
  recordsFrom,
  STREAM_POLL_MS,
  type StreamItem,
  type Streams,
  type StreamWatch,
} from '../observe/streams.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { NodeIdentity } from '../store/store.ts'
import {
  type NewStream,
  type StreamCreated,
  type StreamRecord,
  type StreamRow,
  type StreamStore,
  type StreamVerdict,
  type StreamWrite,
  streamPath,
} from '../store/stream.ts'

export type { StreamItem } from '../observe/streams.ts'

type StreamHubPorts = {
  store(): StreamStore
  clock(): Clock
  crash(): CrashPoints
  namespace(): string
  node(): NodeIdentity
  failed(what: string, error: unknown): void
}

export type StreamReadOptions = {
  /** Offset of the first item, default 0. */
  readonly from?: number
  /** Ends the reading. */
  readonly signal?: AbortSignal
}

type Watched = { readonly watches: Set<Watch>; timer: Timer | null; seen: string | null }

export class StreamHub implements Streams {
  readonly #ports: StreamHubPorts
  readonly #watched = new Map<string, Watched>()
  #writer: StreamWriter | null = null
  #closed = false

  constructor(ports: StreamHubPorts) {
    this.#ports = ports
  }

  /** What agents of this node write goes through it. */
  get writer(): StreamWriter {
    const { store, clock, crash, node, failed } = this.#ports
    const appended = (path: string): void => this.changed(path)
    this.#writer ??= new StreamWriter({ store: store(), clock: clock(), crash, node, appended, failed })
    return this.#writer
  }

  row(path: string): Promise<StreamRow | null> {
    return this.#ports.store().streamRow(this.#ports.namespace(), path)
  }

  records(row: StreamRow, from: number): Promise<StreamRecord[]> {
    return this.#ports.store().streamRecords(row.id, from)
  }

  async touch(row: StreamRow): Promise<void> {
    if (row.ttlS !== null) await this.#ports.store().touchStream(this.#ports.node(), row.id)
  }

  async create(wanted: NewStream): Promise<StreamCreated> {
    const created = await this.#ports.store().createStream(this.#ports.node(), wanted)
    this.changed(wanted.path)
    return created
  }

  async write(write: StreamWrite): Promise<StreamVerdict> {
    const verdict = await this.#ports.store().writeStream(this.#ports.node(), write)
    this.changed(write.path)
    return verdict
  }

  async remove(path: string): Promise<'deleted' | 'absent' | 'gone'> {
    const outcome = await this.#ports.store().deleteStream(this.#ports.node(), path)
    this.changed(path)
    return outcome
  }

  /** Something was written on this node. */
  changed(path: string): void {
    for (const watch of this.#watched.get(path)?.watches ?? []) watch.tell()
  }

  watch(path: string): StreamWatch {
    const watched = this.#watched.get(path) ?? { watches: new Set(), timer: null, seen: null }
    this.#watched.set(path, watched)
    const watch = new Watch(this.#ports.clock(), () => this.#ended(path, watched, watch))
    watched.watches.add(watch)
    if (this.#closed) watch.stop()
    else if (watched.timer === null) this.#arm(path, watched)
    return watch
  }

  /** Items of an agent's stream: what is stored, then what comes, until it is closed. Waits for one that is not there
   *  yet. @throws STREAM_GAP STREAM_NOT_FOUND RUNTIME_STOPPED REQUEST_INVALID */
  async *read(id: ProcessId, name: string, options: StreamReadOptions = {}): AsyncGenerator<StreamItem, void, void> {
    const { from = 0, signal } = options
    if (!Number.isSafeInteger(from) || from < 0) {
      throw new RuntimeError('REQUEST_INVALID', `A stream cannot be read from offset ${from}. Offsets count from 0.`)
    }
    const path = streamPath(id, name)
    const watch = this.watch(path)
    let at = from
    let known: number | null = null
    try {
      while (!isAborted(signal)) {
        watch.arm()
        const row = await this.row(path)
        if (known !== null && row?.id !== known) throw streamGone(path)
        known = row?.id ?? null
        const records = row === null ? [] : await recordsFrom(this, row, { from: at })
        for (const record of records) {
          at = record.pos + 1
          yield itemOf(record, decode)
          if (isAborted(signal)) return
        }
        if (records.length > 0) continue
        if (row?.closed === true && at >= row.tail) return
        await watch.changed(Number.POSITIVE_INFINITY, signal)
      }
    } finally {
      watch.end()
    }
  }

  close(): void {
    this.#closed = true
    this.#writer?.close()
    for (const { watches, timer } of this.#watched.values()) {
      timer?.cancel()
      for (const watch of watches) watch.stop()
    }
  }

  #arm(path: string, watched: Watched): void {
    watched.timer = this.#ports.clock().after(STREAM_POLL_MS, () => void this.#look(path, watched))
    watched.timer.keepAlive(false)
  }

  async #look(path: string, watched: Watched): Promise<void> {
    try {
      const row = await this.row(path)
      const seen = row === null ? 'none' : `${row.id} ${row.tail} ${row.closed} ${row.gone}`
      if (seen !== watched.seen) for (const watch of watched.watches) watch.tell()
      watched.seen = seen
    } catch (error) {
      // The next look follows; readers are told by what they read themselves.
      this.#ports.failed(`looking at the stream ${path}`, error)
    }
    if (!this.#closed && watched.watches.size > 0) this.#arm(path, watched)
    else watched.timer = null
  }

  #ended(path: string, watched: Watched, watch: Watch): void {
    watched.watches.delete(watch)
    if (watched.watches.size > 0) return
    watched.timer?.cancel()
    watched.timer = null
    if (this.#watched.get(path) === watched) this.#watched.delete(path)
  }
}

class Watch implements StreamWatch {
  readonly #clock: Clock
  readonly #onEnd: () => void
  #told = false
  #stopped = false
  #wake: (() => void) | null = null

  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock
    this.#onEnd = onEnd
  }

  arm(): void {
    this.#told = false
  }

  tell(): void {
    this.#told = true
    this.#wake?.()
  }

  stop(): void {
    this.#stopped = true
    this.#wake?.()
  }

  async changed(ms: number, signal?: AbortSignal): Promise<void> {
    if (!this.#told && !this.#stopped && signal?.aborted !== true) await this.#wait(ms, signal)
    if (this.#stopped) throw new RuntimeError('RUNTIME_STOPPED', 'The runtime was stopped while the stream was read.')
  }

  #wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? this.#clock.after(ms, done) : null
      const wake = done
      this.#wake = wake
      signal?.addEventListener('abort', wake, { once: true })
      const detach = (): void => {
        timer?.cancel()
        signal?.removeEventListener('abort', wake)
      }
      function done(): void {
        detach()
        resolve()
      }
    })
  }

  end(): void {
    this.#onEnd()
  }
}

/** Asked anew each time: it changes while others run. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted ?? false
}

export function streamHubOf(core: RuntimeCore): StreamHub {
  return new StreamHub({
    store: () => core.backend.handle.store,
    clock: () => core.clock,
    crash: () => core.layer.ports.crash,
    namespace: () => core.namespace,
    node: () => core.node,
    failed: (what, error) => core.complain(what, error),
  })
}

function streamGone(path: string): RuntimeError {
  return new RuntimeError('STREAM_NOT_FOUND', `The stream ${path} was taken away while it was read.`)
}
