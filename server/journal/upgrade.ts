/** The chain of `upgrade` steps from a stored state version to the code's (OTP code_change). */
import { RuntimeError } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import type { AnyAgent } from '../definition/agent.ts'

/** @throws UPGRADE_MISSING when a step of the chain is not defined */
export function upgradeState(definition: AnyAgent, state: Value, from: number): unknown {
  let upgraded: unknown = state
  for (let version = from; version < definition.version; version++) {
    const step = definition.upgrade[version] as ((old: unknown) => unknown) | undefined // `never` only guards callers
    if (step === undefined) {
      throw new RuntimeError(
        'UPGRADE_MISSING',
        `Agent "${definition.name}" is at version ${definition.version} and has no upgrade ` +
          `from ${version} to ${version + 1}.`,
      )
    }
    upgraded = step(upgraded)
  }
  return upgraded
}
