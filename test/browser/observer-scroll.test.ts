/// <reference lib="dom" />
import { afterEach, expect, test } from 'vitest'
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
  const result = await page.evaluate(async () => {
    const grid = document.querySelector('.process-table')
    if (grid === null) throw new Error('There is no process table.')
    const tasks: number[] = []
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) tasks.push(Math.round(entry.duration))
    }).observe({ type: 'longtask' })
    let rows = 0
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve))
    for (let step = 0; step < 240; step++) {
      // Slow and fast parts: single rows, screens, and jumps over thousands.
      grid.scrollTop += step % 40 === 39 ? 40_000 : step % 10 === 9 ? 900 : 70
      await frame()
      rows = Math.max(rows, document.querySelectorAll('[role=row]').length)
    }
    return { tasks, rows, height: grid.scrollHeight }
  })
  expect(result.rows).toBeLessThanOrEqual(ROW_ELEMENTS_MAX)
  expect(result.height).toBeGreaterThan(290_000)
  expect(result.tasks.filter((ms) => ms > TASK_MS_MAX)).toEqual([])

  // What stands at a place is what the sorted list has there.
  await expect.poll(() => page.locator('.row-skeleton').count()).toBe(0)
  const shown = await page
    .locator('.process-row .process-name')
    .evaluateAll((names) => names.map((name) => name.textContent))
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
