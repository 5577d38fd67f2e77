/** An event as one line of a black box: what happened, in the fewest words that still say it. */
import type { RuntimeEvent } from '../../shared/event.ts'

/** Events kept in the black box of an exit. */
export const BLACK_BOX_EVENTS = 50
/** Characters of one line; a message may be long, its head says what it is about. */
const LINE_CHARACTERS_MAX = 300

export function eventLine(event: RuntimeEvent): { at: number; text: string } {
  return { at: event.at, text: textOf(event).slice(0, LINE_CHARACTERS_MAX) }
}

function textOf(event: RuntimeEvent): string {
  switch (event.kind) {
    case 'process:exit':
      return `incarnation ${event.incarnation} ended: ${event.reason}`
    case 'process:restart':
      return `restart after ${Math.round(event.delayMs)} ms`
    case 'process:start':
      return `incarnation ${event.incarnation} began`
    case 'process:activate':
      return `activated at row ${event.seq} in ${Math.round(event.durationMs)} ms`
    case 'process:diverge':
      return `diverged: journal expects ${event.expected}, code asks for ${event.found}`
    case 'failure':
      return `${event.class} in ${event.op ?? 'no message'}: ${event.error.message} (${event.decision})`
    case 'dead-letter':
      return `"${event.op}" became a dead letter: ${event.reason}`
    case 'log':
      return `${event.level} ${event.message}`
    case 'audit':
      return `${event.verb} by ${event.actor}: ${event.outcome}`
    case 'thread:block':
      return `held the thread for ${Math.round(event.durationMs)} ms in ${event.op ?? 'no message'}`
    case 'supervisor:give-up':
      return `gave up over ${event.child}`
    case 'supervisor:child-failed':
      return `child ${event.child} failed: ${event.error.message}`
    default:
      return event.kind
  }
}
