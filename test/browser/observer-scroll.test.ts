import { afterEach, expect, test } from 'vitest'
import { type ObserverPage, openObserver } from '../support/observer-page.ts'
import { ROW_ELEMENTS_MAX, scrollCost, TASK_MS_MAX } from '../support/scroll-probe.ts'

let observer: ObserverPage

afterEach(() => observer.close())

test('10,000 processes: few row elements, no long task while scrolling, every row is the right one', async () => {
  observer = await openObserver({ size: 10_000 })
  const { page } = observer
  await observer.open('agents?mode=flat&sort=id&dir=asc')
  await page.getByRole('row').nth(20).waitFor()
  const { rows, height, tasks } = await scrollCost(page)
  expect(rows).toBeLessThanOrEqual(ROW_ELEMENTS_MAX)
  expect(height).toBeGreaterThan(290_000)
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
