/** A process that works on a task pool until its victim ends it: `task-child.ts DATABASE_URL EFFECTS`. */
import { createRuntime } from 'vivarium'
import { taskPool } from './task-pool.ts'

const [, , databaseUrl = '', effects = ''] = process.argv
const tasks = taskPool(effects)
const runtime = await createRuntime({ agents: [tasks], databaseUrl, name: 'victim' })
await runtime.start(tasks, 'p', 'run', undefined, { idempotencyKey: 'run' })
