/// <reference lib="dom" />
import { afterEach, expect, test } from 'vitest'
import { type ObserverPage, openObserver } from '../support/observer-page.ts'
import { startToyFeed } from '../support/toy-feed.ts'
import { ToyWorld } from '../support/toy-world.ts'

let observer: ObserverPage

// The browser itself reports the refused connections of this test on its console.
afterEach(() => observer.close(/WebSocket connection to|Failed to load resource: net::ERR_FAILED/))

/** The first rows: the bar that says `Not connected.` takes the place of the last ones. */
const rowNames = () =>
  Array.from(document.querySelectorAll('.process-row .process-name'), (name) => name.textContent).slice(0, 30)

test('a dropped connection says so, keeps the data, and comes back without doubled rows', async () => {
  observer = await openObserver({ size: 200 })
  const { page, feed } = observer
  await observer.open('agents')
  await page.getByRole('row', { name: 'courier/main' }).waitFor()
  const before = await page.evaluate(rowNames)
  await page.getByRole('row', { name: 'courier/main' }).click()
  await page.getByRole('button', { name: 'Kill…' }).waitFor()
  feed.refusing = true
  feed.drop()
  await page.getByText('Not connected.').waitFor()
  expect(await page.evaluate(rowNames)).toEqual(before)
  expect(await page.getByRole('button', { name: 'Kill…' }).isDisabled()).toBe(true)
  feed.refusing = false
  await pressRetry()
  await page.getByText('Not connected.').waitFor({ state: 'detached' })
  const after = await page.evaluate(rowNames)
  expect(new Set(after).size).toBe(after.length)
  expect(after).toEqual(before)
})

test('a restarted server: rows are those of the new one, none of the old stays', async () => {
  observer = await openObserver({ size: 60 })
  const { page, feed } = observer
  await observer.open('agents?mode=flat&sort=id&dir=asc')
  await page.getByRole('row', { name: 'concierge/donald-7' }).waitFor()
  const port = Number(new URL(feed.url).port)
  await feed.close()
  await page.getByText('Not connected.').waitFor()
  const world = new ToyWorld(40, 11)
  const next = await startToyFeed({ size: 40, port, world })
  observer = { ...observer, close: async (expected) => observerClose(expected, next.close) }
  await page.getByText('Not connected.').waitFor({ state: 'detached' })
  const truth = [...world.processes.keys()].sort()
  await expect.poll(() => page.evaluate(rowNames)).toEqual(truth.slice(0, 30))
  await expect.poll(() => page.getByText('40 processes').isVisible()).toBe(true)
})

test('a part of the page that cannot be fetched while the server is away comes when it is back', async () => {
  observer = await openObserver({ size: 60 })
  const { page } = observer
  const away = (url: URL): boolean => /\/assets\/inspector-.*\.js$/.test(url.pathname) || url.pathname === '/'
  await observer.open('agents')
  await page.route(away, (route) => route.abort())
  await page.reload()
  const looked = page.waitForEvent('requestfailed', (request) => request.method() === 'HEAD')
  await page.getByRole('row', { name: 'courier/main' }).click()
  await looked
  expect(await page.getByText('This panel failed').count()).toBe(0)
  await page.unroute(away)
  await page.getByRole('button', { name: 'Kill…' }).waitFor()
  expect(new URL(page.url()).searchParams.get('sel')).toBe('courier/main')
})

test('a server that falls silent is shown as old after two pings, and left after three', async () => {
  observer = await openObserver({ size: 60 })
  const { page, feed } = observer
  await page.clock.install()
  await observer.open('agents')
  await page.getByRole('row', { name: 'courier/main' }).waitFor()
  feed.silent = true
  await page.clock.runFor(33_000)
  await page.getByText(/^Silent for 3\d s/).waitFor()
  expect(await page.locator('.main').evaluate((main) => getComputedStyle(main).filter)).toBe('grayscale(0.9)')
  await page.getByRole('row', { name: 'courier/main' }).waitFor()
  await page.clock.runFor(30_000)
  await page.getByText('Not connected.').waitFor()
  feed.silent = false
  await pressRetry()
  await page.getByText('Not connected.').waitFor({ state: 'detached' })
  expect(await page.getByText(/Silent for/).count()).toBe(0)
})

/** The page tries by itself after 0.4 s, too: where that was faster there is nothing to press any more. */
async function pressRetry(): Promise<void> {
  await observer.page.getByRole('button', { name: 'Retry' }).evaluateAll((buttons) => {
    for (const button of buttons) (button as HTMLElement).click()
  })
}

async function observerClose(expected: RegExp | undefined, closeNext: () => Promise<void>): Promise<void> {
  await closeNext()
  await observer.page.context().browser()?.close()
  expect(expected).toBeDefined()
}
