/** What a step says whose turn ended first. */
import { RuntimeError } from '../../shared/error.ts'

export function abandoned(op: string, process: string): RuntimeError {
  return new RuntimeError(
    'STEP_ABANDONED',
    `The turn "${op}" of ${process} ended while the step ran; its result is not recorded.`,
  )
}
