/** A step has one idempotency key, whatever attempts, crashes and moves; and no other step has it (T4). */
import type { Observed } from './observed.ts'

export function checkKeys({ runs }: Pick<Observed, 'runs'>): string[] {
  const found: string[] = []
  const keys = new Map<string, string>()
  const steps = new Map<string, string>()
  for (const { step, key } of runs) {
    if ((keys.get(step) ?? key) !== key) found.push(`keys: step ${step} ran under two idempotency keys`)
    if ((steps.get(key) ?? step) !== step) found.push(`keys: steps ${step} and ${steps.get(key)} share a key`)
    keys.set(step, key)
    steps.set(key, step)
  }
  return found
}
