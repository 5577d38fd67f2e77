/// <reference lib="dom" />
/** Scrolls through the list of processes and tells what it cost: row elements, and processor time of every task. */
import type { Page } from 'playwright-core'
import { z } from 'zod'

/** Issue A, done-when 4. */
export const ROW_ELEMENTS_MAX = 100
/** Milliseconds. */
export const TASK_MS_MAX = 50

export type ScrollCost = {
  /** Most row elements at once. */
  readonly rows: number
  /** Height of all rows, px. */
  readonly height: number
  /** Milliseconds of processor time of each task of the page's main thread. */
  readonly tasks: readonly number[]
}

export async function scrollCost(page: Page): Promise<ScrollCost> {
  const [result, tasks] = await measured(page, () => page.evaluate(scrollThrough))
  return { ...result, tasks }
}

/** Runs in the page: slow and fast parts, single rows, screens, and jumps over thousands. */
async function scrollThrough(): Promise<{ rows: number; height: number }> {
  const grid = document.querySelector('.process-table')
  if (grid === null) throw new Error('There is no process table.')
  let rows = 0
  for (let step = 0; step < 240; step++) {
    grid.scrollTop += step % 40 === 39 ? 40_000 : step % 10 === 9 ? 900 : 70
    await new Promise((resolve) => requestAnimationFrame(resolve))
    rows = Math.max(rows, document.querySelectorAll('[role=row]').length)
  }
  return { rows, height: grid.scrollHeight }
}

const traceSchema = z.object({
  traceEvents: z.array(
    z.looseObject({
      name: z.string(),
      ph: z.string(),
      pid: z.number(),
      tid: z.number(),
      tdur: z.number().optional(),
      args: z.looseObject({ name: z.unknown().optional() }).optional(),
    }),
  ),
})

/**
 * Milliseconds of processor time of each task of the page's main thread meanwhile. A `longtask` entry counts time on
 * the wall, in which a busy machine lets other programs run; on an idle one both are the same.
 */
async function measured<T>(page: Page, run: () => Promise<T>): Promise<[T, number[]]> {
  const browser = page.context().browser()
  if (browser === null) throw new Error('The page has no browser.')
  await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline'] })
  const result = await run()
  const { traceEvents } = traceSchema.parse(JSON.parse(String(await browser.stopTracing())))
  const threads = traceEvents.filter(({ ph, name, args }) => {
    return ph === 'M' && name === 'thread_name' && args?.name === 'CrRendererMain'
  })
  const onMain = new Set(threads.map(({ pid, tid }) => `${pid} ${tid}`))
  const tasks = traceEvents.filter(({ name, ph, pid, tid }) => {
    return ph === 'X' && name.endsWith('RunTask') && onMain.has(`${pid} ${tid}`)
  })
  return [result, tasks.map(({ tdur = 0 }) => Math.round(tdur / 1_000))]
}
