/// <reference lib="dom" />
/**
 * The observer on a real server under load: a child process with an embedded Postgres of its own, 10,000 processes,
 * 2,000 messages and 60 commits a second (support/smithy.ts). `OBSERVER_PICTURES=folder` keeps a picture of each stop.
 */
import { join } from 'node:path'
import type { Locator, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { ROW_ELEMENTS_MAX, scrollCost, TASK_MS_MAX } from '../support/scroll-probe.ts'
import { SmithyChild, type Truth } from '../support/smithy-child.ts'
import { openLive, openWatchedPage, type WatchedPage } from '../support/watched-page.ts'

const VISITORS = 10_000
/** Milliseconds a page may take to show what it must: many times what it takes, also beside other programs. */
const WAIT_MS = 10_000

let server: SmithyChild
let watched: WatchedPage
let page: Page

beforeAll(async () => {
  server = await SmithyChild.start(VISITORS)
})
afterAll(() => server?.clean())

beforeEach(async () => {
  watched = await openWatchedPage(server.url)
  page = watched.page
  page.setDefaultTimeout(WAIT_MS)
})
// The browser itself reports the connections it was refused while the server was away.
afterEach(async ({ task }) => {
  await picture(`end of ${task.name.slice(0, 20)}`)
  await watched.close(/WebSocket connection to|net::ERR_CONNECTION_(REFUSED|RESET)/)
})

test('under load a busy agent is found, read, killed with a reason and seen back, by keyboard alone', async () => {
  const { keyboard } = page
  await openLive(page, server.url)
  await picture('keyboard-overview')
  await keyboard.press('g')
  await keyboard.press('a')
  await page.getByRole('treegrid', { name: 'Processes' }).waitFor()
  await keyboard.press('/')
  await keyboard.type('agent:worker mailbox>500')
  await page.getByText(/^1 of 10,0\d\d$/).waitFor()
  await keyboard.press('Enter')
  await picture('keyboard-filter')
  // The tree shows where the match stands; it is the last row.
  await keyboard.press('End')
  await keyboard.press('Enter')
  const inspector = page.getByRole('article', { name: 'Inspector of worker/anvil' })
  await inspector.getByRole('tab', { name: 'Now' }).waitFor()
  await keyboard.press('Alt+3')
  await stateIsLive(inspector)
  await picture('keyboard-state')
  await keyboard.press('Alt+4')
  await mailboxIsDeep(inspector)
  await picture('keyboard-mailbox')

  await keyboard.press('Shift+K')
  const sheet = page.getByRole('dialog', { name: 'Kill worker/anvil' })
  await sheet.getByText('Message in hand').waitFor()
  await keyboard.type('the iron is cold')
  await picture('keyboard-kill')
  await keyboard.press('Control+Enter')
  await page.getByText('back as incarnation 2').waitFor()
  await inspector.getByText('killed: the iron is cold').waitFor()
  await picture('keyboard-back')
  await keyboard.press('Alt+5')
  const failure = inspector.getByRole('button', { name: 'Killed the iron is cold' })
  await failure.waitFor()
  for (let moves = 0; moves < 30 && !(await isFocused(failure)); moves++) await keyboard.press('Tab')
  await keyboard.press('Enter')
  await inspector.getByText('Mailbox then').waitFor()
  await picture('keyboard-failure')
  await isBack('worker/anvil', 'the iron is cold')
})

test('the same by mouse', async () => {
  await openLive(page, new URL('agents', server.url).href)
  await page.getByRole('columnheader', { name: 'Mailbox' }).click()
  await page.getByRole('row', { name: 'worker/bellows' }).click()
  const inspector = page.getByRole('article', { name: 'Inspector of worker/bellows' })
  await inspector.getByRole('tab', { name: 'State' }).click()
  await stateIsLive(inspector)
  await inspector.getByRole('tab', { name: 'Mailbox' }).click()
  await mailboxIsDeep(inspector)
  await picture('mouse-mailbox')
  await inspector.getByRole('button', { name: 'Kill…' }).click()
  const sheet = page.getByRole('dialog', { name: 'Kill worker/bellows' })
  await sheet.getByText('Message in hand').waitFor()
  await sheet.getByLabel('Reason').fill('leaks air')
  await sheet.getByRole('button', { name: 'Kill Ctrl Enter' }).click()
  await page.getByText('back as incarnation 2').waitFor()
  await inspector.getByText('New incarnation').waitFor()
  await inspector.getByRole('button', { name: 'Show why' }).click()
  await inspector.getByRole('button', { name: 'Killed leaks air' }).click()
  await inspector.getByText('Mailbox then').waitFor()
  await picture('mouse-failure')
  await isBack('worker/bellows', 'leaks air')
})

test('the server is killed and started again under an open page: back by itself, without stale rows', async () => {
  await openLive(page, new URL('agents?sel=worker%2Fchisel', server.url).href)
  await page.getByRole('row', { name: 'pool/visitor' }).getByText('10K idle').waitFor()
  // Parts of the page that load ahead of need would otherwise be cut off now and then; observer-reconnect tests that.
  await page.waitForLoadState('networkidle')
  const before = await rowNames()
  await server.kill()
  await page.getByText('Not connected.').waitFor()
  await picture('restart-away')
  expect(await rowNames()).toEqual(before)
  await server.start()
  await page.getByText('Not connected.').waitFor({ state: 'detached' })
  const truth = await server.truth()
  const outside = truth.filter((row) => row.agent !== 'visitor')
  await expect.poll(async () => [...(await rowNames())].sort()).toEqual(outside.map((row) => row.id))
  await page.getByText(`${truth.length.toLocaleString('en')} processes`).waitFor()
  await page.getByRole('article', { name: 'Inspector of worker/chisel' }).getByText('step').first().waitFor()
  await picture('restart-back')
  expect(await rowCounts()).toEqual(Object.fromEntries(outside.map(countsOf)))

  // The unfolded pool holds visitors of this run only.
  await page.getByRole('row', { name: 'pool/visitor' }).getByRole('button', { name: 'Unfold' }).click()
  await page.getByRole('row', { name: `visitor/${server.run}-00000` }).waitFor()
  const visitors = (await rowNames()).filter((name) => name?.startsWith('visitor/'))
  expect(visitors).toEqual(truth.flatMap((row) => (row.agent === 'visitor' ? [row.id] : [])).slice(0, visitors.length))
})

test('10,000 processes under load: few row elements, no long task while scrolling, all rows right', async () => {
  await openLive(page, new URL('agents?mode=flat&sort=id&dir=asc', server.url).href)
  await page.getByRole('row').nth(20).waitFor()
  const { rows, height, tasks } = await scrollCost(page)
  await picture('scroll')
  expect(rows).toBeLessThanOrEqual(ROW_ELEMENTS_MAX)
  expect(height).toBeGreaterThan(290_000)
  expect(tasks.length).toBeGreaterThan(200)
  expect(tasks.filter((ms) => ms > TASK_MS_MAX)).toEqual([])

  const truth = (await server.truth()).map((row) => row.id)
  await expect.poll(() => page.locator('.row-skeleton').count()).toBe(0)
  const shown = await rowNames()
  const at = truth.indexOf(shown[0] ?? '')
  expect(shown).toEqual(truth.slice(at, at + shown.length))
})

async function stateIsLive(inspector: Locator): Promise<void> {
  const tree = inspector.getByRole('tree')
  await tree.getByText('pieces').first().waitFor()
  await inspector.getByText(/since v\d+/).waitFor()
}

async function mailboxIsDeep(inspector: Locator): Promise<void> {
  await inspector.getByText('first 100 shown').waitFor()
  await inspector.locator('.message').nth(99).getByText('forge').waitFor()
}

/** What the API says of a process that was killed once: one restart, one failure with the reason. */
async function isBack(id: string, reason: string): Promise<void> {
  const row = page.getByRole('row', { name: id })
  await expect.poll(() => row.getByText('waiting').isVisible()).toBe(true)
  const truth = (await server.truth()).find((each) => each.id === id)
  expect(truth).toMatchObject({ incarnation: 2, restarts: 1 })
  const address = new URL(`api/v1/processes/${encodeURIComponent(id)}/failures`, server.url)
  const failures = await (await fetch(address)).json()
  expect(failures.items).toMatchObject([
    {
      class: 'Killed',
      incarnation: 1,
      op: 'forge',
      error: { code: 'killed', message: reason },
      // In the step, or while its row is on its way.
      box: { status: 'waiting', wait: { kind: expect.stringMatching(/^(step|commit)$/) }, turn: { op: 'forge' } },
    },
  ])
}

const isFocused = (locator: Locator) => locator.evaluate((element) => element === document.activeElement)

const rowNames = () =>
  page.locator('.process-row .process-name').evaluateAll((names) => names.map((name) => name.textContent))

type Counts = [string, { restarts: string; failures: string }]

/** Restarts and failures as the rows show them, by name: the columns the load does not change. */
async function rowCounts(): Promise<Record<string, Counts[1]>> {
  const rows = await page.locator('.process-row').evaluateAll((found) =>
    found.map((row): Counts => {
      const text = (cell: string) => row.querySelector(cell)?.textContent ?? 'none'
      return [text('.process-name'), { restarts: text('.cell-restarts'), failures: text('.cell-failures') }]
    }),
  )
  return Object.fromEntries(rows)
}

const countsOf = ({ id, restarts, failures }: Truth): Counts => {
  return [id, { restarts: String(restarts), failures: String(failures) }]
}

async function picture(name: string): Promise<void> {
  const folder = process.env['OBSERVER_PICTURES']
  if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`) })
}
