/** V5: a fired timer counts only while it is the one that is armed. Arms rise per process; names say which is meant. */
import type { MessageRow } from '../store/store.ts'
import type { DurableRecord } from './record.ts'

export function arm(record: DurableRecord, name: string, n: number): void {
  record.armed.set(name, Math.max(n, record.armed.get(name) ?? 0))
  record.armCount = Math.max(record.armCount, n)
}

/** False when it was cancelled or armed anew since it fired. */
export function disarm(record: DurableRecord, { ord, timer }: MessageRow): boolean {
  // A later attempt of a message whose timer counted when it was first taken.
  if (record.fired.has(ord)) return true
  if (timer === null || record.armed.get(timer.name) !== timer.arm) return false
  record.armed.delete(timer.name)
  record.fired.add(ord)
  return true
}

export function isArmed(record: DurableRecord, { ord, timer }: MessageRow): boolean {
  return timer === null || record.fired.has(ord) || record.armed.get(timer.name) === timer.arm
}
