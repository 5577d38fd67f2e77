/**
 * A turn of a sandbox copy (E9, E10): it passes what the journal holds, and stops at each request beyond that is not
 * its own affair, until an operator answers it.
 *
 * - Requests go on by themselves only where it is known that they reach nobody: sleeps, messages it receives,
 *   checkpoints, and reads. A new verb stops until somebody says that it may go on.
 * - An answer is a result like that of a step, recorded under the key of the request: a replay hands it over again.
 * - Sends and the like never come to its outbox (sandbox-context.ts); what it streams goes nowhere.
 */
import { errorFromData, RuntimeError } from '../../shared/error.ts'
import type { Wait } from '../../shared/snapshot.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { Process } from '../kernel/process.ts'
import { handOver } from './bytes.ts'
import type { Outcome, Shape, Withheld } from './entry.ts'
import { stored } from './mend.ts'
import { OUTBOX_MAX } from './outbox.ts'
import type { AgentEntry, DurablePorts } from './port.ts'
import type { DurableRecord } from './record.ts'
import { ROLLBACK } from './rollback.ts'
import { SilentStreams } from './silent-stream.ts'
import { Turn } from './turn.ts'
import { firstWait } from './wait.ts'

/** Requests of these shapes reach nobody. */
const OWN: ReadonlySet<Shape> = new Set<Shape>(['sleep', 'message', 'checkpoint', 'scope'])

/** A request that waits for an operator. */
export type Stop = {
  readonly key: string
  readonly wait: Wait
  give(out: Outcome, by: string): Promise<void>
}

/** What is known of the request that is made now, besides its key. */
type About = { readonly what: string; readonly args: string | null } | 'read'

export class SandboxTurn extends Turn {
  /** Oldest first. */
  readonly stops = new Map<string, Stop>()
  #about: About | null = null

  constructor(ports: DurablePorts, agent: AgentEntry, process: Process, record: DurableRecord, envelope: Envelope) {
    super(ports, agent, process, record, envelope)
    this.streams = new SilentStreams(this)
  }

  /** Requests that `ask` makes at once are of this kind. */
  about<T>(about: About, ask: () => T): T {
    const before = this.#about
    this.#about = about
    try {
      return ask()
    } finally {
      this.#about = before
    }
  }

  override request(key: string, live: () => Promise<unknown>, shape: Shape = 'result', firm = false): Promise<unknown> {
    const about = this.#about
    if (OWN.has(shape) || about === 'read') return super.request(key, live, shape, firm)
    // It may stand here for days: a cancellation does not wait for it. Nothing cancels a compensation (Y5).
    return super.request(key, () => this.#stop(key, about), shape, key.startsWith(ROLLBACK))
  }

  withhold(withheld: Withheld): void {
    this.assertOpen()
    const { outbox } = this
    outbox.withheld ??= []
    if (outbox.withheld.length >= OUTBOX_MAX) {
      const text = `A turn of ${this.process.id} would reach others ${OUTBOX_MAX} times; that is the limit.`
      throw new RuntimeError('MAILBOX_FULL', text)
    }
    outbox.withheld.push(withheld)
  }

  async #stop(key: string, about: Exclude<About, 'read'> | null): Promise<unknown> {
    await this.flushed()
    this.assertOpen()
    if (!this.requests.has(key)) return null // cancelled meanwhile; nobody hears this
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const target = about?.what ?? undoing(key) ?? key
    const since = this.ports.clock.now()
    const args = about?.args ?? null
    const wait: Wait = { kind: 'sandbox', target, since, deadline: null, attempt: 1 }
    const stop: Stop = {
      key,
      wait: args === null ? wait : { ...wait, progress: args },
      give: (out, by) => this.#give(stop, { out, by }, (value) => resolve(value), reject),
    }
    this.stops.set(key, stop)
    this.process.wait = this.#shown()
    this.requests.onStop(key, () => {
      this.#over(stop)
      return {}
    })
    return promise
  }

  /** Resolves once the answer is stored. @throws NOT_FOUND  somebody was faster, or the turn is over
   *  @throws FENCED */
  async #give(
    stop: Stop,
    { out, by }: { out: Outcome; by: string },
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ): Promise<void> {
    const place = this.place()
    if (place !== null) await place
    const { id, process, epoch } = this
    if (this.closed || process.epoch !== epoch || this.stops.get(stop.key) !== stop) {
      throw new RuntimeError('NOT_FOUND', `${process.id} does not wait for an answer to ${stop.key} any more.`)
    }
    this.#over(stop)
    this.append({ k: 'step', turn: id, key: stop.key, out, attempts: 1, by, at: this.stamp() })
    const behind = stored(this.ports, this.record, {})
    if ('ok' in out) resolve(handOver(out.ok))
    else reject(errorFromData(out.err))
    await behind
  }

  #over(stop: Stop): void {
    this.stops.delete(stop.key)
    this.process.wait = this.#shown()
  }

  #shown(): Wait | null {
    for (const { wait } of this.stops.values()) return wait
    return firstWait(this.record)
  }
}

/** What a compensation is shown as, which no verb of the context asks for. */
function undoing(key: string): string | null {
  return key.startsWith(ROLLBACK) ? `rollback ${key.slice(ROLLBACK.length).replace(/#\d+$/, '')}` : null
}
