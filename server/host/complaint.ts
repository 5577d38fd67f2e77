/** Trouble of the runtime itself as a log event: work in the background that failed and will be tried again. */
import { errorData } from '../../shared/error.ts'
import type { RuntimeEvent } from '../../shared/event.ts'

/** The process under whose name the runtime speaks about itself. */
export const RUNTIME_ID = 'vivarium/runtime'

export function complaint(at: number, what: string, error: unknown): RuntimeEvent {
  const cause = error instanceof Error ? error.message : String(error)
  const message = `${what} failed: ${cause}`
  return { kind: 'log', at, id: RUNTIME_ID, incarnation: 1, level: 'warn', message, data: errorData(error) }
}
