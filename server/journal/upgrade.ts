/** The chain of `upgrade` steps from a stored state version to the code's (OTP code_change). */
import { RuntimeError } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import type { AnyAgent } from '../definition/agent.ts'

/** @throws UPGRADE_MISSING when a step of the chain is not defined  @throws UPGRADE_FAILED when one throws */
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
    try {
      upgraded = step(upgraded)
    } catch (error) {
      const text = `Upgrade of agent "${definition.name}" from ${version} to ${version + 1} failed: ${messageOf(error)}`
      throw new RuntimeError('UPGRADE_FAILED', text, { cause: error })
    }
  }
  return upgraded
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
