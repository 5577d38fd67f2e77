/**
 * What operators do to an open turn, in the observer on a real server: cancel, fork to a sandbox, answer, discard.
 * `OBSERVER_PICTURES=folder` keeps a picture of each stop, in both themes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { agent, createRuntime, type Runtime, supervisor } from '../../server/index.ts'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'
import { SCHEMES, violations } from '../support/axe.ts'
import { travel, trip } from '../support/travel.ts'
import { openLive, openWatchedPage, type WatchedPage } from '../support/watched-page.ts'

/** Milliseconds a page may take to show what it must: many times what it takes, also beside other programs. */
const WAIT_MS = 10_000

/** Code that changed between two lives of a process. */
let season = 'summer'
const guide = agent('guide', {
  state: () => ({ tours: 0 }),
  on: {
    async tour(ctx): Promise<void> {
      await ctx.step('meet', () => 'at noon')
      await ctx.step(season === 'summer' ? 'swim' : 'museum', () => 'done')
      await ctx.sleep(3_600_000)
      ctx.state.tours += 1
    },
  },
})
const root = supervisor('office', { strategy: 'one_for_one', children: [travel, guide.spec({ key: 'main' })] })

let data: string
let runtime: Runtime
let url: string
let watched: WatchedPage
let page: Page

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'vivarium-travel-'))
  // Payments that the bank never answers are no reason to wait at the end.
  runtime = await createRuntime({ root, data, drainMs: 500 })
  url = (await runtime.listen({ port: 0 })).url
})
afterAll(async () => {
  await runtime?.stop()
  await stopEmbedded(data, { force: true })
  await rm(data, { recursive: true, force: true })
})
beforeEach(async () => {
  watched = await openWatchedPage(url)
  page = watched.page
  page.setDefaultTimeout(WAIT_MS)
})
afterEach(() => watched.close())

const open = (path: string): Promise<void> => openLive(page, new URL(path, url).href)
const inspected = (id: string) => page.getByRole('article', { name: `Inspector of ${id}` })
const detail = (id: string) => runtime.inspect.process(id)
const state = async (id: string) => (await runtime.inspect.state(id)).value
const audits = async (target: string) =>
  (await runtime.inspect.audit({ target })).items.map(({ verb, reason, outcome }) => ({ verb, reason, outcome }))

async function begin(key: string, op: 'book' | 'plan'): Promise<void> {
  const ref = runtime.ref(trip, key)
  const message = { to: key, nights: 2 }
  await runtime.send(op === 'book' ? ref.book(message) : ref.plan(message))
  const target = op === 'book' ? 'charge card' : null
  await expect.poll(async () => (await detail(`trip/${key}`))?.wait?.target).toBe(target)
}

test('a turn is forked, its copy answered and taken away by keyboard; the original notices nothing', async () => {
  await begin('lisbon', 'book')
  const before = await detail('trip/lisbon')
  await open('agents?sel=trip%2Flisbon')
  const { keyboard } = page
  await inspected('trip/lisbon').getByText('step charge card').first().waitFor()
  await keyboard.press('Shift+F')
  const fork = page.getByRole('dialog', { name: 'Fork trip/lisbon' })
  await fork.getByText('The copy takes "book" along, with its 1 result.').waitFor()
  await keyboard.type('is the price right?')
  await picture('fork')
  await keyboard.press('Control+Enter')
  await page.getByText('with its open turn book').waitFor()

  // The way there is in the message; in the list it is marked, and no extra stop of the tab order.
  const row = page.getByRole('row', { name: 'trip/lisbon~1' })
  const badge = row.getByRole('link', { name: 'sandbox of lisbon' })
  await badge.waitFor()
  expect(await badge.getAttribute('tabindex')).toBe('-1')
  await picture('forked')
  await page.getByRole('link', { name: 'Open trip/lisbon~1' }).press('Enter')
  const copy = inspected('trip/lisbon~1')
  await copy.getByRole('link', { name: 'sandbox of trip/lisbon' }).waitFor()
  await copy.getByRole('region', { name: 'Waits for an answer' }).getByText('step charge card').waitFor()
  await picture('sandbox')

  await keyboard.press('Shift+A')
  const answer = page.getByRole('dialog', { name: 'Answer trip/lisbon~1' })
  await answer.getByText('goes on with the answer').waitFor()
  await keyboard.press('Control+Enter')
  await answer.getByRole('alert').getByText('Give the value as JSON').waitFor()
  await keyboard.type('{"cents": 41900')
  await keyboard.press('Control+Enter')
  await answer.getByRole('alert').getByText('Not JSON').waitFor()
  await picture('answer-problem')
  expect(await audits('trip/lisbon~1')).toEqual([])
  await keyboard.type('}')
  await picture('answer')
  await keyboard.press('Control+Enter')
  await page.getByText('answered charge card#0').waitFor()
  await expect.poll(() => state('trip/lisbon~1')).toMatchObject({ receipt: { cents: 41_900 } })
  await keyboard.press('Alt+2')
  await copy.getByText('answered by').first().waitFor()
  await picture('answered')

  await keyboard.press('Delete')
  const discard = page.getByRole('dialog', { name: 'Discard trip/lisbon~1' })
  await discard.getByText('Only its audit stays.').waitFor()
  await keyboard.press('Control+Enter')
  await discard.getByRole('alert').getByText('Say why').waitFor()
  await keyboard.type('seen')
  await picture('discard')
  await keyboard.press('Control+Enter')
  await copy.getByText('Discarded.').waitFor()
  await picture('gone')
  expect(await detail('trip/lisbon~1')).toBeNull()
  expect(await audits('trip/lisbon')).toMatchObject([{ verb: 'fork', reason: 'is the price right?' }])
  expect(await audits('trip/lisbon~1')).toMatchObject([
    { verb: 'discard', reason: 'seen' },
    { verb: 'answer', reason: null, outcome: 'answered charge card#0' },
  ])
  const after = await detail('trip/lisbon')
  expect(after).toMatchObject({ wait: before?.wait, stateVersion: before?.stateVersion, current: before?.current })
})

test('a fork of a version is chosen in the timeline, under an id of its own; what does not fit is said', async () => {
  await begin('oslo', 'book')
  await open('agents?sel=trip%2Foslo&tab=timeline')
  const inspector = inspected('trip/oslo')
  await inspector.locator('.entry-head').last().click()
  await inspector.getByRole('button', { name: 'Fork from here…' }).click()
  const sheet = page.getByRole('dialog', { name: 'Fork trip/oslo' })
  expect(await sheet.getByRole('textbox', { name: 'Version' }).inputValue()).toBe('1')
  await sheet.getByLabel('Id of the copy').fill('oslo-then')
  await page.keyboard.press('Control+Enter')
  await sheet.getByRole('alert').getByText('The id of the copy is trip/KEY').waitFor()
  await sheet.getByLabel('Id of the copy').fill('trip/oslo-then')
  await sheet.getByRole('textbox', { name: 'Version' }).fill('x')
  await page.keyboard.press('Control+Enter')
  await sheet.getByRole('alert').getByText('Give the number of a version').waitFor()
  await picture('fork-problem')
  await sheet.getByRole('textbox', { name: 'Version' }).fill('1')
  await page.keyboard.press('Control+Enter')
  await page.getByText('as of version 1').waitFor()
  expect(await detail('trip/oslo-then')).toMatchObject({ sandbox: 'trip/oslo', current: null })
  // What the server refuses is told in its words.
  await page.keyboard.press('Shift+F')
  await sheet.getByLabel('Id of the copy').fill('trip/oslo-then')
  await page.keyboard.press('Control+Enter')
  await page.getByText('trip/oslo-then exists.').waitFor()
  await picture('fork-refused')
})

test('a parked operation is cancelled by keyboard; the sheet says whom it reaches', async () => {
  await begin('porto', 'plan')
  await expect.poll(async () => (await detail('trip/porto'))?.status).toBe('passive')
  await open('agents/trip%2Fporto')
  const { keyboard } = page
  const inspector = inspected('trip/porto')
  // Out of memory, and still shown with what it is at and until when.
  await inspector.getByRole('region', { name: 'Message in hand' }).getByText('plan').waitFor()
  await inspector.getByText(/wakes in 1 h 59 m/).waitFor()
  await picture('parked')
  await keyboard.press('Shift+C')
  const sheet = page.getByRole('dialog', { name: 'Cancel operation trip/porto' })
  await sheet.getByText('it rolls back: release the room, release the seat.').waitFor()
  const reached = sheet.getByRole('region', { name: 'What this will do' })
  await reached.getByText('hotel/porto-first').waitFor()
  await reached.getByText('hotel/porto-second').waitFor()
  await keyboard.press('Control+Enter')
  await sheet.getByRole('alert').getByText('Say why').waitFor()
  await keyboard.type('the traveller is ill')
  await picture('cancel')
  await keyboard.press('Control+Enter')
  await page.getByText('cancellation requested').waitFor()
  await expect.poll(async () => (await detail('hotel/porto-first'))?.wait ?? null).toBeNull()
  await keyboard.press('Alt+2')
  await inspector.getByText('the traveller is ill').first().waitFor()
  await picture('cancelled')
  expect(await audits('trip/porto')).toMatchObject([{ verb: 'cancel', reason: 'the traveller is ill' }])
  await runtime.control.cancel('hotel/porto-second', null, { actor: 'operator:test' })
  await expect.poll(async () => (await detail('trip/porto'))?.current ?? null).toBeNull()
})

test('a step that waits for somebody outside is failed, then completed, from the observer', async () => {
  await runtime.send(runtime.ref(trip, 'rome').approve())
  await expect.poll(async () => (await detail('trip/rome'))?.status).toBe('passive')
  await open('agents/trip%2Frome')
  const { keyboard } = page
  const list = inspected('trip/rome').getByRole('region', { name: 'Waits for an answer' })
  await list.getByText('step manager approves').waitFor()
  await picture('outside')
  await keyboard.press('Shift+A')
  const sheet = page.getByRole('dialog', { name: 'Answer trip/rome' })
  await sheet.getByText('goes on with the answer').waitFor()
  await sheet.getByLabel('an error, as if it had failed for good').press('Space')
  await sheet.getByRole('textbox', { name: /^Error/ }).fill('no budget')
  await picture('answer-error')
  await keyboard.press('Control+Enter')
  await page.getByText('answered manager approves#0').waitFor()
  await inspected('trip/rome').getByText('attempt 2').waitFor()
  await list.getByText('step manager approves').waitFor()
  await keyboard.press('Shift+A')
  await sheet.getByRole('textbox', { name: /^Value/ }).fill('"the boss"')
  await keyboard.press('Control+Enter')
  await expect.poll(() => state('trip/rome')).toMatchObject({ approvedBy: 'the boss' })
  await list.waitFor({ state: 'detached' })
})

test('a turn that the code does not fit any more shows the journal beside what the code asks for', async () => {
  await runtime.send(runtime.ref(guide, 'main').tour())
  await expect.poll(async () => (await detail('guide/main'))?.wait?.kind).toBe('sleep')
  season = 'winter'
  await runtime.control.restart('guide/main', { actor: 'operator:test' })
  await expect.poll(async () => (await detail('guide/main'))?.status).toBe('diverged')
  await open('agents?sel=guide%2Fmain')
  const section = inspected('guide/main').getByRole('region', { name: 'Divergence' })
  await section.getByText(/^- +2 +step +swim#0/).waitFor()
  await section.getByText(/^\+ +step +museum#0/).waitFor()
  await inspected('guide/main').getByText('code and journal disagree').waitFor()
  await picture('diverged')
  expect(await violations(page, 'diverged', 'dark')).toEqual([])
  await page.emulateMedia({ colorScheme: 'light' })
  expect(await violations(page, 'diverged', 'light')).toEqual([])
})

for (const colorScheme of SCHEMES) {
  test(`axe finds nothing on the sheets of an open turn, ${colorScheme}`, async () => {
    const id = `axe-${colorScheme}`
    await begin(id, 'book')
    await runtime.control.fork(`trip/${id}`, { actor: 'operator:test' })
    await expect.poll(async () => (await detail(`trip/${id}~1`))?.wait?.kind).toBe('sandbox')
    await page.emulateMedia({ colorScheme })
    await open(`agents?sel=trip%2F${id}~1`)
    await inspected(`trip/${id}~1`).getByRole('region', { name: 'Waits for an answer' }).waitFor()
    const found = await violations(page, 'sandbox', colorScheme)
    for (const [key, name, text] of [
      ['Shift+F', 'Fork', 'The copy takes'],
      ['Shift+A', 'Answer', 'goes on with the answer'],
      ['Shift+C', 'Cancel operation', '"book" hears CANCELLED'],
      ['Delete', 'Discard', 'Only its audit stays.'],
    ] as const) {
      await page.keyboard.press(key)
      await page
        .getByRole('dialog', { name: `${name} trip/${id}~1` })
        .getByText(text)
        .waitFor()
      // A fork lacks nothing: it would be made.
      if (name !== 'Fork') await page.keyboard.press('Control+Enter')
      found.push(...(await violations(page, name, colorScheme)))
      await page.keyboard.press('Escape')
    }
    expect(found).toEqual([])
  })
}

async function picture(name: string): Promise<void> {
  const folder = process.env['OBSERVER_PICTURES']
  if (folder === undefined) return
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) })
  }
}
