/// <reference lib="dom" />
import type { Page } from 'playwright-core'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { type ObserverPage, openObserver } from '../support/observer-page.ts'

let observer: ObserverPage

afterEach(() => observer.close())

/** Issue A, done-when 4. */
const ROW_ELEMENTS_MAX = 100
const TASK_MS_MAX = 50

test('10,000 processes: few row elements, no long task while scrolling, every row is the right one', async () => {
  observer = await openObserver({ size: 10_000 })
  const { page } = observer
  await observer.open('agents?mode=flat&sort=id&dir=asc')
  await page.getByRole('row').nth(20).waitFor()
  const [result, tasks] = await measured(page, () => page.evaluate(scrollThrough))
  expect(result.rows).toBeLessThanOrEqual(ROW_ELEMENTS_MAX)
  expect(result.height).toBeGreaterThan(290_000)
  expect(tasks.length).toBeGreaterThan(200)
  expect(tasks.filter((ms) => ms > TASK_MS_MAX)).toEqual([])

  // What stands at a place is what the sorted list has there.
  await expect.poll(() => page.locator('.row-skeleton').count()).toBe(0)
  const names = page.locator('.process-row .process-name')
  const shown = await names.evaluateAll((found) => found.map((name) => name.textContent))
  const sorted = [...observer.feed.world.processes.keys()].sort()
  const at = sorted.indexOf(shown[0] ?? '')
  expect(shown).toEqual(sorted.slice(at, at + shown.length))
})

test('a big pool is one row with its counts until it is unfolded', async () => {
  observer = await openObserver({ size: 2_000 })
  const { page } = observer
  await observer.open('agents')
  const pool = page.getByRole('row', { name: 'pool/order' })
  await pool.getByText(/\d+ idle/).waitFor()
  expect(await pool.getAttribute('aria-expanded')).toBe('false')
  await pool.getByRole('button', { name: 'Unfold' }).click()
  await page.getByRole('row', { name: 'order/1000' }).waitFor()
  expect(await pool.getAttribute('aria-expanded')).toBe('true')
  expect(new URL(page.url()).searchParams.get('open')).toBe('pool%2Forder')
})

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
