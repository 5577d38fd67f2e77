/**
 * Children for tests of supervisors: nested supervisors, and children whose starts fail.
 */
import type { ChildInput } from '../../server/kernel/child.ts'
import { supervisorProcess } from '../../server/kernel/supervisor-process.ts'
import type { SupervisorSpec } from '../../server/kernel/supervisor-spec.ts'
import type { Bench } from './kernel-bench.ts'

export const never = (): Promise<never> => new Promise(() => {})

/** A nested supervisor as a child. */
export function nested(
  bench: Bench,
  id: string,
  children: ChildInput[],
  more: Partial<SupervisorSpec & ChildInput> = {},
): ChildInput {
  const { restart, significant, ...spec } = more
  const process = supervisorProcess(bench.kernel, {
    id: `supervisor/${id}`,
    strategy: 'one_for_one',
    ...spec,
    children,
  })
  return {
    id,
    process,
    ...(restart === undefined ? {} : { restart }),
    ...(significant === undefined ? {} : { significant }),
  }
}

/** A child whose starts fail while `broken.now`. */
export function fragile(
  bench: Bench,
  id: string,
  broken: { now: boolean; starts: number },
  more: Partial<ChildInput> = {},
): ChildInput {
  return bench.child(id, more, {
    activated: () => {
      broken.starts += 1
      if (broken.now) throw new Error('cannot start')
      bench.log.push(`+${id}`)
    },
  })
}
