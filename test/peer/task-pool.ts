/**
 * The work of inline-hang: a turn that keeps WIDTH steps in flight and starts one more for each that ends. Its victim
 * task kills its own process the first time, so no end of any kind is recorded for what was in flight.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { agent } from '../../server/definition/agent.ts'

export const TASKS = 80
export const WIDTH = 8
export const VICTIM = 30

/** @param effects  a file with one line per run of a task: it outlives processes */
export const taskPool = (effects: string) =>
  agent('tasks', {
    state: () => ({ sum: 0 }),
    on: {
      async run(ctx) {
        let next = 0
        let sum = 0
        const runner = async (): Promise<void> => {
          while (next < TASKS) {
            const i = next++
            const got = await ctx.step('task', () => task(effects, i), { key: `t${i}` })
            sum += got
          }
        }
        await Promise.all(Array.from({ length: WIDTH }, runner))
        ctx.state.sum = sum
        return sum
      },
    },
  })

async function task(effects: string, i: number): Promise<number> {
  const name = `t${i}`
  const before = existsSync(effects) ? readFileSync(effects, 'utf8').split('\n') : []
  appendFileSync(effects, `${name}\n`)
  if (i === VICTIM && !before.includes(name)) process.kill(process.pid, 'SIGKILL')
  await pause((i * 7) % 12)
  return i
}
