/** What one sender asked of one receiver is carried out in the order of the sender's code (M5). */
import type { ActorState } from './actor.ts'

export function checkOrder(states: ReadonlyMap<string, ActorState>): string[] {
  const found: string[] = []
  for (const [id, { log }] of states) {
    const last = new Map<string, number>()
    for (const item of log) {
      const [sender = '', n = ''] = item.split('#')
      const before = last.get(sender) ?? 0
      if (Number(n) <= before) found.push(`order: ${id} handled ${item} after ${sender}#${before}`)
      last.set(sender, Number(n))
    }
  }
  return found
}
