/** Runtime events as sentences for people. The union is closed: a new kind does not compile until it has one. */
import type { RuntimeEvent } from '../../shared/event.ts'
import { durationText, workText } from '../ui/duration.ts'

export type EventLine = { text: string; tone: 'plain' | 'good' | 'warning' | 'critical' }

export function eventLine(event: RuntimeEvent): EventLine {
  switch (event.kind) {
    case 'process:start':
      return good(`started as incarnation ${event.incarnation}`)
    case 'process:exit':
      return event.error === null
        ? plain(`exited: ${event.reason}`)
        : critical(`crashed: ${event.error.message}${event.restarts ? '' : '; stays down'}`)
    case 'process:restart':
      return warning(`restarts${event.delayMs > 0 ? ` in ${workText(event.delayMs)}` : ' at once'}`)
    case 'process:activate':
      return good(`activated at version ${event.seq} in ${workText(event.durationMs)}`)
    case 'process:passivate':
      return plain(`passivated at version ${event.seq}`)
    case 'process:suspend':
      return warning(`suspended by ${event.actor}`)
    case 'process:resume':
      return good(`resumed by ${event.actor}`)
    case 'process:diverge':
      return critical(`diverged: expected ${event.expected}, found ${event.found}`)
    case 'process:fenced':
      return warning('fenced: another node owns it now')
    case 'supervisor:give-up':
      return critical(
        `gave up: more than ${event.intensity} restarts in ${durationText(event.periodMs)} (${event.child})`,
      )
    case 'thread:block':
      return critical(blockText(event))
    case 'supervisor:child-failed':
      return warning(`child ${event.child} failed (${event.attempt} in a row): ${event.error.message}`)
    case 'failure':
      return critical(`${event.op ?? 'outside a message'}: ${event.error.message}, then ${event.decision}`)
    case 'dead-letter':
      return critical(`dead letter ${event.op}: ${event.reason}`)
    case 'log':
      return {
        text: event.message,
        tone: event.level === 'error' ? 'critical' : event.level === 'warn' ? 'warning' : 'plain',
      }
    default:
      return workLine(event)
  }
}

type Told =
  | 'process:start'
  | 'process:exit'
  | 'process:restart'
  | 'process:activate'
  | 'process:passivate'
  | 'process:suspend'
  | 'process:resume'
  | 'process:diverge'
  | 'process:fenced'
  | 'supervisor:give-up'
  | 'thread:block'
  | 'supervisor:child-failed'
  | 'failure'
  | 'dead-letter'
  | 'log'

function workLine(event: Exclude<RuntimeEvent, { kind: Told }>): EventLine {
  switch (event.kind) {
    case 'turn:start':
      return plain(`began ${opText(event.op)}`)
    case 'turn:stop':
      return event.outcome === 'done'
        ? plain(`${opText(event.op)} done in ${workText(event.durationMs)}`)
        : critical(`${opText(event.op)} failed after ${workText(event.durationMs)}`)
    case 'turn:interrupt':
      return warning(`${opText(event.op)} was taken from it by an operator`)
    case 'step:start':
      return plain(`step ${event.step} began${event.attempt > 1 ? `, attempt ${event.attempt}` : ''}`)
    case 'step:stop':
      return event.outcome === 'done'
        ? plain(`step ${event.step} done in ${workText(event.durationMs)}`)
        : warning(`step ${event.step} failed, attempt ${event.attempt}`)
    case 'commit:stop':
      return plain(`commit of ${event.turns} turns ${event.outcome} in ${workText(event.durationMs)}`)
    case 'store:down':
      return critical(`store lost: ${event.error.message}`)
    case 'store:up':
      return good(`store back after ${durationText(event.downMs)}`)
    case 'node:join':
      return plain(`node ${event.node} joined`)
    case 'node:leave':
      return warning(`node ${event.node} left: ${event.reason}`)
    case 'recovery:stop':
      return good(`${event.processes} processes recovered in ${workText(event.durationMs)}`)
    case 'audit':
      return plain(`${event.actor} ${event.verb} ${event.target}: ${event.outcome}`)
    case 'runtime:start':
      return good(`runtime up in ${workText(event.durationMs)}`)
    case 'runtime:drain':
      return warning(`draining: ${event.reason}`)
    case 'runtime:stop':
      return plain('runtime stopped')
    default:
      return event satisfies never
  }
}

function blockText({ op, durationMs, stack }: Extract<RuntimeEvent, { kind: 'thread:block' }>): string {
  const [top] = stack
  const code = op === null ? 'code outside a message' : opText(op)
  return `${code} held the thread of its node for ${workText(durationMs)}${top === undefined ? '' : `, at ${top}`}`
}

/** Hooks are turns of their own; their names begin with a dollar sign. */
function opText(op: string): string {
  return op.startsWith('$') ? `hook ${op.slice(1)}` : op
}

const plain = (text: string): EventLine => ({ text, tone: 'plain' })
const good = (text: string): EventLine => ({ text, tone: 'good' })
const warning = (text: string): EventLine => ({ text, tone: 'warning' })
const critical = (text: string): EventLine => ({ text, tone: 'critical' })
