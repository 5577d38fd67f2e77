/**
 * Of rival outcomes one is told that it counts, and that is the one the turn has (Q12). A token is known to the store
 * as long as its step is open (Q11).
 */
import type { SagaEvidence } from './saga-evidence.ts'

export function checkExternals(evidence: SagaEvidence): string[] {
  const found: string[] = []
  const { handed, outcomes } = evidence.observed
  const tokens = new Map<string, { name: string; saga: string }>()
  for (const { token, name, saga } of handed) {
    const other = tokens.get(token)
    if (other !== undefined && other.name !== name) found.push(`external: ${name} and ${other.name} share a token`)
    tokens.set(token, { name, saga })
  }
  for (const [token, { name, saga }] of tokens) {
    const given = outcomes.filter((one) => one.token === token)
    const taken = new Set(given.filter(({ told }) => told === 'taken').map(({ value }) => value))
    if (taken.size > 1) found.push(`external: ${[...taken].join(' and ')} were both told that they count`)
    const one = evidence.cases.find((each) => each.saga.id === saga)
    // A turn that heard of its cancellation may have given the step up.
    const got = one?.outcome === 'ok' ? one.state.got[name] : undefined
    if (got === undefined) continue
    const values = new Set(outcomes.filter((each) => each.name === name).map(({ value }) => value))
    if (!values.has(got)) found.push(`external: ${name} gave ${got}, which nobody gave`)
    const others = new Set(handed.filter((each) => each.name === name).map((each) => each.token))
    // A step that was failed from outside begins anew, with another token, when its attempt crashes.
    if (others.size === 1 && taken.size === 1 && !taken.has(got)) {
      found.push(`external: ${name} gave ${got}, and ${[...taken].join()} was told that it counts`)
    }
  }
  for (const { name, value, told } of outcomes) {
    if (told !== 'taken' && told !== 'ALREADY_COMPLETED' && told !== 'STEP_NOT_FOUND') {
      found.push(`external: ${value} for ${name} was told ${told}`)
    }
  }
  return found
}
