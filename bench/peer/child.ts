/** The process of one round of one side: opens it, measures, sends the figures to its parent, closes it. */
import { measure } from './measure.ts'
import type { OpenSide, Task } from './side.ts'

const task = JSON.parse(process.argv[2] ?? '') as Task // written by contest.ts
const { open } = (await import(`./${task.side}.ts`)) as { open: OpenSide } // by convention
const side = await open(task)
let closed: Promise<void> | undefined
/** Once: a parent that goes away in the middle of a round closes a side whose runs fail for it, and close it too. */
const close = (): Promise<void> => {
  closed ??= side.close()
  return closed
}
// Without a parent nobody else would end the servers of this side.
const abandoned = () => void close().finally(() => process.exit(1))
process.once('disconnect', abandoned)
try {
  process.send?.(await measure(side, task.plan))
} finally {
  process.off('disconnect', abandoned)
  await close()
}
process.exit(0)
