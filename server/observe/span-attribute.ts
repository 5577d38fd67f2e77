/**
 * What spans say about processes and messages. Known at creation, because samplers decide then.
 * Names: `messaging.*` of the OpenTelemetry semantic conventions 1.45, `vivarium.*` where they have none.
 */
import type { Attributes } from '@opentelemetry/api'
import type { ProcessId } from '../../shared/id.ts'

/** A process, as far as traces know it. */
export type Owner = {
  readonly id: ProcessId
  readonly agent: string | null
  readonly kind: string
  readonly hidden: boolean
  readonly incarnation: number
}

/** A message, as far as traces know it. */
export type Said = {
  readonly kind: string
  readonly op: string
  readonly from: ProcessId | null
  readonly attempts: number
  readonly messageId: string | null
  lineage: { readonly root: string | null; readonly traceparent: string | null }
}

const SYSTEM = 'vivarium'

export function turnAttributes(process: Owner, said: Said): Attributes {
  const attributes: Attributes = {
    'messaging.system.name': SYSTEM,
    'messaging.operation.type': 'process',
    'messaging.operation.name': 'process',
    'messaging.destination.name': process.id,
    'messaging.destination.template': template(process.agent ?? process.kind),
    'vivarium.process.incarnation': process.incarnation,
    'vivarium.op': said.op,
    'vivarium.message.kind': said.kind,
    'vivarium.message.attempt': said.attempts + 1,
  }
  if (process.agent !== null) attributes['vivarium.agent'] = process.agent
  if (said.from !== null) attributes['vivarium.message.sender'] = said.from
  if (said.messageId !== null) attributes['messaging.message.id'] = said.messageId
  if (said.lineage.root !== null) attributes['messaging.message.conversation_id'] = said.lineage.root
  return attributes
}

export function producerAttributes(target: { id: ProcessId; agent: string }, op: string): Attributes {
  return {
    'messaging.system.name': SYSTEM,
    'messaging.operation.type': 'send',
    'messaging.operation.name': 'send',
    'messaging.destination.name': target.id,
    'messaging.destination.template': template(target.agent),
    'vivarium.agent': target.agent,
    'vivarium.op': op,
  }
}

export function stepAttributes(process: Owner, name: string): Attributes {
  const attributes: Attributes = {
    'vivarium.step': name,
    'vivarium.process': process.id,
    'vivarium.process.incarnation': process.incarnation,
  }
  if (process.agent !== null) attributes['vivarium.agent'] = process.agent
  return attributes
}

function template(agent: string): string {
  return `${agent}/{key}`
}
