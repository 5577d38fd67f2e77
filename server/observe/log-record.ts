/**
 * Logs and what an operator should hear of, as OpenTelemetry log records, through @opentelemetry/api only.
 *
 * - O13: what `ctx.log` says inside a turn belongs to the span that is active there; nothing is built while nobody
 *   registered a logger provider, and one that is registered late is found.
 * - A record is bounded like an event of the ring, and carries no state and no message.
 */
import { type Attributes, type Logger, logs, SeverityNumber } from '@opentelemetry/api'
import type { ErrorData } from '../../shared/error.ts'
import type { EventKind, EventOf } from '../../shared/event.ts'
import { type ProcessId, splitId } from '../../shared/id.ts'
import { preview } from './ring.ts'
import { SCOPE_NAME } from './telemetry.ts'

const KINDS = [
  'log',
  'failure',
  'dead-letter',
  'process:diverge',
  'process:fenced',
  'supervisor:give-up',
  'thread:block',
  'store:down',
  'store:up',
  'node:leave',
  'audit',
] as const satisfies readonly EventKind[]

type Told = EventOf<(typeof KINDS)[number]>
type Source = {
  listen<K extends EventKind>(kinds: readonly K[], fn: (event: EventOf<K>) => void, label?: string): () => void
}

const SEVERITIES = {
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
} as const

export class LogRecords {
  readonly #logger: Logger = logs.getLogger(SCOPE_NAME)
  readonly #stop: () => void

  constructor(bus: Source) {
    this.#stop = bus.listen(KINDS, (event) => this.#tell(event), 'log records')
  }

  close(): void {
    this.#stop()
  }

  #tell(event: Told): void {
    const severityNumber = severityOf(event)
    if (!this.#logger.enabled({ severityNumber })) return
    const severityText = (SeverityNumber[severityNumber] ?? '').toLowerCase()
    const attributes: Attributes = { ...('id' in event ? processAttributes(event) : {}), ...ownAttributes(event) }
    // What an agent logs is a plain record; the rest has a name under which it can be found.
    const name =
      event.kind === 'log' ? {} : { eventName: `vivarium.${event.kind.replace(':', '.').replaceAll('-', '_')}` }
    this.#logger.emit({ ...name, timestamp: event.at, severityNumber, severityText, body: textOf(event), attributes })
  }
}

function severityOf(event: Told): SeverityNumber {
  switch (event.kind) {
    case 'log':
      return SEVERITIES[event.level]
    case 'failure':
    case 'process:diverge':
    case 'supervisor:give-up':
    case 'store:down':
      return SeverityNumber.ERROR
    case 'dead-letter':
    case 'process:fenced':
    case 'thread:block':
      return SeverityNumber.WARN
    case 'store:up':
    case 'node:leave':
    case 'audit':
      return SeverityNumber.INFO
    default:
      return event satisfies never
  }
}

function textOf(event: Told): string {
  switch (event.kind) {
    case 'log':
      return event.message
    case 'failure':
      return `${event.id} failed (${event.class}): ${event.error.message} Decision: ${event.decision}.`
    case 'dead-letter':
      return `Message ${event.messageId} (${event.op}) of ${event.id} was given up: ${event.reason}.`
    case 'process:diverge':
      return `${event.id} is parked: its journal expects ${event.expected}, the code asks for ${event.found}.`
    case 'process:fenced':
      return `${event.id} belongs to another node now.`
    case 'supervisor:give-up':
      return `${event.id} gave up: ${event.child} failed more than ${event.intensity} times in ${event.periodMs} ms.`
    case 'thread:block':
      return blockText(event)
    case 'store:down':
      return `The database cannot be reached: ${event.error.message}`
    case 'store:up':
      return `The database is back after ${event.downMs} ms.`
    case 'node:leave':
      return `Node ${event.node} left: ${event.reason}.`
    case 'audit':
      return `${event.actor}: ${event.verb} ${event.target}: ${event.outcome}${inBrackets(event.reason)}`
    default:
      return event satisfies never
  }
}

function blockText({ id, op, durationMs, stack }: EventOf<'thread:block'>): string {
  const [top] = stack
  const where = top === undefined ? '' : ` at ${top}`
  return `${id} held the thread of its node for ${Math.round(durationMs)} ms in ${op ?? 'no message'}${where}.`
}

function inBrackets(text: string | null): string {
  return text === null ? '' : ` (${text})`
}

function ownAttributes(event: Told): Attributes {
  switch (event.kind) {
    case 'log':
      return event.data === null || event.data === undefined ? {} : { 'vivarium.log.data': jsonOf(event.data) }
    case 'failure':
      return {
        ...errorAttributes(event.error),
        'vivarium.failure.id': event.failureId,
        'vivarium.failure.class': event.class,
      }
    case 'store:down':
      return errorAttributes(event.error)
    case 'dead-letter':
      return { 'messaging.message.id': event.messageId, 'vivarium.op': event.op }
    case 'thread:block':
      return {
        'code.stacktrace': event.stack.join('\n'),
        ...(event.op === null ? {} : { 'vivarium.op': event.op }),
      }
    case 'audit':
      return { 'vivarium.actor': event.actor, 'vivarium.verb': event.verb, 'vivarium.target': event.target }
    default:
      return {}
  }
}

function processAttributes({ id, incarnation }: { id: ProcessId; incarnation: number }): Attributes {
  return {
    'vivarium.process': id,
    'vivarium.process.incarnation': incarnation,
    'vivarium.agent': splitId(id).agent,
  }
}

function errorAttributes({ code, message, name, stack }: ErrorData): Attributes {
  const attributes: Attributes = { 'error.type': code, 'exception.type': name ?? code, 'exception.message': message }
  if (stack !== undefined) attributes['exception.stacktrace'] = stack
  return attributes
}

function jsonOf(data: unknown): string {
  return JSON.stringify(preview(data))
}
