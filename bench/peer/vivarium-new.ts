/**
 * Vivarium's side with a new agent for each run, as a workflow engine has a new workflow for each: the run pays for the
 * claim of an unseen key too.
 */
import type { Place, Side } from './side.ts'
import { openVivarium } from './vivarium.ts'

export function open(place: Place): Promise<Side> {
  let runs = 0
  return openVivarium(place, () => `n${runs++}`)
}
