/**
 * Traces of a runtime, through @opentelemetry/api only: whoever registered a provider gets spans, without one nothing
 * is built. Names and attributes: docs/telemetry.md.
 *
 * - O6: `around` runs code of a process in its scope, whether traces are wanted or not (scope.ts).
 * - O7: a turn is one CONSUMER span in the trace of its sender, linked to it, and active while the turn runs: spans of
 *   user code inside are its children. A message without a trace gets that of its first turn, which redelivery, a
 *   restart and a crash of the node keep: one conversation is one trace.
 * - O8: every span ends: with its turn, with the death of the process, or with the runtime.
 * - O9: recorded steps that are replayed emit nothing; ids are attributes, never parts of span names.
 */
import {
  type Attributes,
  type Context,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import { errorData } from '../../shared/error.ts'
import type { EventKind, EventOf } from '../../shared/event.ts'
import type { ProcessId } from '../../shared/id.ts'
import { Scope } from './scope.ts'
import { type Owner, producerAttributes, type Said, stepAttributes, turnAttributes } from './span-attribute.ts'
import { formatTraceparent, parseTraceparent } from './traceparent.ts'

export type { Owner, Said } from './span-attribute.ts'

/** Instrumentation scope of our spans and instruments. */
export const SCOPE_NAME = 'vivarium'

type Source = {
  listen<K extends EventKind>(kinds: readonly K[], fn: (event: EventOf<K>) => void, label?: string): () => void
}

export type TelemetryOptions = {
  /** Where commits and deaths are told. */
  bus: Source
  /** Whether a throw is the planned end of a process and no failure (`ctx.exit`). */
  isExit(thrown: unknown): boolean
}

type Open = { span: Span; incarnation: number }

export class Telemetry<P extends Owner> {
  readonly #scope = new Scope<P>()
  readonly #options: TelemetryOptions
  readonly #open = new Map<ProcessId, Open>()
  readonly #stops: (() => void)[]
  #provider: TracerProvider | null = null
  #tracer: Tracer | null = null

  constructor(options: TelemetryOptions) {
    this.#options = options
    this.#stops = [
      options.bus.listen(['commit:stop'], (event) => this.#committed(event), 'tracing of commits'),
      options.bus.listen(
        ['process:exit', 'process:diverge', 'process:fenced', 'process:passivate', 'turn:interrupt'],
        (event) => this.#interrupted(event),
        'tracing of deaths',
      ),
    ]
  }

  /** Whether somebody registered a tracer provider. Asked anew each time: a host may do so after our start. */
  get enabled(): boolean {
    return this.#live() !== null
  }

  /** The process whose code runs now, through promises and timers; null outside. */
  currentProcess(): P | null {
    return this.#scope.current()
  }

  /** Runs `fn` as code of the process; with a message, as the turn of it. Bound, so that it can be passed as a port. */
  readonly around = <Q extends P, E extends Said | null, T>(
    process: Q,
    envelope: E,
    fn: (process: Q, envelope: E) => T,
  ): T => {
    const tracer = this.#live()
    // `fn` is handed back the very process it came with.
    const run = fn as (process: P, envelope: E) => T
    if (tracer === null) return this.#scope.enter(process, envelope, run)
    if (envelope === null || process.hidden) {
      return this.#scope.enter(process, envelope, (p, e) => context.with(ROOT_CONTEXT, run, undefined, p, e))
    }
    return this.#turn(tracer, process, envelope, run)
  }

  /** Runs the function of a live step inside a span; the outcome of the step decides its status. */
  step<T>(process: Owner, name: string, fn: () => Promise<T>): Promise<T> {
    const tracer = this.#live()
    if (tracer === null) return fn()
    const parent = context.active()
    const attributes = stepAttributes(process, name)
    const span = tracer.startSpan(`step ${name}`, { kind: SpanKind.INTERNAL, attributes }, parent)
    return this.#ending(span, context.with(trace.setSpan(parent, span), fn), (result) => stepFailed(span, result))
  }

  /** W3C traceparent of the active span; null without tracing. */
  traceparent(): string | null {
    if (this.#live() === null) return null
    return formatTraceparent(trace.getSpanContext(context.active()))
  }

  /** Traceparent for a message from outside: a PRODUCER span in the caller's trace, or the first of a new one. */
  produce(target: { id: ProcessId; agent: string }, op: string): string | null {
    const tracer = this.#live()
    if (tracer === null) return null
    const attributes = producerAttributes(target, op)
    const span = tracer.startSpan(`send ${target.agent}`, { kind: SpanKind.PRODUCER, attributes })
    span.end()
    return formatTraceparent(span.spanContext())
  }

  /** Ends what is open and listens no more. */
  close(): void {
    for (const stop of this.#stops) stop()
    for (const id of [...this.#open.keys()]) this.#abandon(id, 'Interrupted', 'The runtime stopped during the turn.')
  }

  #turn<E extends Said, T>(tracer: Tracer, process: P, envelope: E, fn: (process: P, envelope: E) => T): T {
    const sender = parseTraceparent(envelope.lineage.traceparent)
    const parent = sender === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, sender)
    const links: Link[] = sender === null ? [] : [{ context: sender }]
    const attributes = turnAttributes(process, envelope)
    const name = `process ${process.agent ?? process.kind}`
    const span = tracer.startSpan(name, { kind: SpanKind.CONSUMER, attributes, links }, parent)
    // The envelope carries the trace to the journal, which a replay of this turn reads it from.
    if (sender === null) envelope.lineage = { ...envelope.lineage, traceparent: formatTraceparent(span.spanContext()) }
    return this.#inTurn(process, envelope, trace.setSpan(parent, span), span, fn)
  }

  #inTurn<E extends Said, T>(process: P, envelope: E, active: Context, span: Span, fn: (p: P, e: E) => T): T {
    const run = (p: P, e: E): T => context.with(active, fn, undefined, p, e)
    let result: T
    try {
      result = this.#scope.enter(process, envelope, run)
    } catch (error) {
      this.#failed(span, error)
      span.end()
      throw error
    }
    if (!(result instanceof Promise)) {
      span.end()
      return result
    }
    const open: Open = { span, incarnation: process.incarnation }
    this.#open.set(process.id, open)
    const end = (): void => {
      if (this.#open.get(process.id) !== open) return // its process died before, and ended it
      this.#open.delete(process.id)
      if (envelope.messageId !== null) span.setAttribute('messaging.message.id', envelope.messageId)
      span.end()
    }
    result.then(end, (error: unknown) => {
      if (this.#open.get(process.id) === open) this.#failed(span, error)
      end()
    })
    return result
  }

  /** The promise as it is, with the span ended before whoever awaits it goes on. */
  async #ending<T>(span: Span, result: Promise<T>, judge: (result: T) => void): Promise<T> {
    try {
      const value = await result
      judge(value)
      return value
    } catch (error) {
      this.#failed(span, error)
      throw error
    } finally {
      span.end()
    }
  }

  #failed(span: Span, thrown: unknown): void {
    if (!this.#options.isExit(thrown)) markFailed(span, thrown)
  }

  #interrupted(
    event: EventOf<'process:exit' | 'process:diverge' | 'process:fenced' | 'process:passivate' | 'turn:interrupt'>,
  ): void {
    const open = this.#open.get(event.id)
    if (open === undefined || open.incarnation !== event.incarnation) return
    if (event.kind !== 'process:exit') return this.#abandon(event.id, event.kind, `Taken from it by ${event.kind}.`)
    open.span.setAttribute('vivarium.exit.reason', event.reason)
    this.#abandon(event.id, event.error?.code ?? 'Interrupted', `The process ended during the turn: ${event.reason}`)
  }

  #abandon(id: ProcessId, type: string, message: string): void {
    const open = this.#open.get(id)
    if (open === undefined) return
    this.#open.delete(id)
    open.span.setAttribute('error.type', type)
    open.span.setStatus({ code: SpanStatusCode.ERROR, message })
    open.span.end()
  }

  /** A batch serves many turns of many traces: a span of its own trace, told once it is over. */
  #committed({ at, rows, turns, durationMs, outcome }: EventOf<'commit:stop'>): void {
    const tracer = this.#live()
    if (tracer === null) return
    const attributes: Attributes = {
      'vivarium.commit.rows': rows,
      'vivarium.commit.turns': turns,
      'vivarium.commit.outcome': outcome,
    }
    const options = { kind: SpanKind.CLIENT, attributes, startTime: at - durationMs }
    const span = tracer.startSpan('commit', options, ROOT_CONTEXT)
    if (outcome !== 'done') {
      span.setAttribute('error.type', outcome)
      span.setStatus({ code: SpanStatusCode.ERROR, message: `The batch was ${outcome}.` })
    }
    span.end(at)
  }

  /** The tracer of the registered provider; null while there is none. The hot path asks this at every turn. */
  #live(): Tracer | null {
    const provider = trace.getTracerProvider()
    if (provider !== this.#provider) {
      this.#provider = provider
      this.#tracer = null
    }
    this.#tracer ??= tracerOf(provider)
    return this.#tracer
  }
}

type Delegating = TracerProvider & { getDelegateTracer(name: string): Tracer | undefined }

/** The API always has a provider; until somebody registers one it is a proxy without a delegate. */
function tracerOf(provider: TracerProvider): Tracer | null {
  if ('getDelegateTracer' in provider) return (provider as Delegating).getDelegateTracer(SCOPE_NAME) ?? null
  return provider.getTracer(SCOPE_NAME)
}

function markFailed(span: Span, thrown: unknown): void {
  const { code, message } = errorData(thrown)
  span.setAttribute('error.type', code)
  span.setStatus({ code: SpanStatusCode.ERROR, message })
  span.recordException(thrown instanceof Error ? thrown : message)
}

/** A step that used up its attempts settles with its error as a value, which is what the journal keeps. */
function stepFailed(span: Span, result: unknown): void {
  if (typeof result !== 'object' || result === null) return
  if ('attempts' in result && typeof result.attempts === 'number') {
    span.setAttribute('vivarium.step.attempts', result.attempts)
  }
  if (!('out' in result) || typeof result.out !== 'object' || result.out === null || !('err' in result.out)) return
  markFailed(span, 'error' in result ? result.error : result.out.err)
}
