import { afterEach, expect, test } from 'vitest'
import { type ObserverPage, openObserver } from '../support/observer-page.ts'

let observer: ObserverPage

afterEach(() => observer.close())

const MOUNT = '/ops/vivarium/'

test('a process is found, killed with a reason and seen back, by keyboard alone', async () => {
  observer = await openObserver({ size: 200, mount: MOUNT })
  const { page, feed } = observer
  await observer.open('')
  const { keyboard } = page
  await keyboard.press('g')
  await keyboard.press('a')
  await page.getByRole('treegrid', { name: 'Processes' }).waitFor()
  await keyboard.press('/')
  await keyboard.type('1020')
  await expect.poll(() => page.getByText('1 of 200').isVisible()).toBe(true)
  await keyboard.press('Enter')
  const row = page.getByRole('row', { name: 'order/1020' })
  for (let moves = 0; moves < 3; moves++) await keyboard.press('j')
  // The sheet opens for the row under the cursor as well, without the inspector.
  await keyboard.press('Shift+S')
  await page.getByRole('dialog', { name: 'Stop order/1020' }).waitFor()
  await keyboard.press('Escape')
  await keyboard.press('Enter')
  const inspector = page.getByRole('article', { name: 'Inspector of order/1020' })
  await inspector.getByRole('tab', { name: 'Now' }).waitFor()
  expect(new URL(page.url()).pathname).toBe(`${MOUNT}agents`)
  expect(new URL(page.url()).searchParams.get('sel')).toBe('order/1020')

  await keyboard.press('Shift+K')
  const sheet = page.getByRole('dialog', { name: 'Kill order/1020' })
  await sheet.getByText('Message in hand').waitFor()
  await keyboard.press('Control+Enter')
  await sheet.getByRole('alert').getByText('Say why').waitFor()
  expect(feed.acts).toBe(0)
  await keyboard.type('stuck since the price outage')
  await keyboard.press('Control+Enter')

  await page.getByText('back as incarnation 2').waitFor()
  await inspector.getByText('New incarnation').waitFor()
  await keyboard.press('Alt+5')
  await inspector.getByText('killed: stuck since the price outage').first().waitFor()
  await expect.poll(() => row.getByText('idle').isVisible()).toBe(true)
  expect(feed.acts).toBe(1)
  expect(feed.world.audit.at(-1)).toMatchObject({ verb: 'kill', reason: 'stuck since the price outage' })
})

test('the same by mouse, and the reason given before is offered again', async () => {
  observer = await openObserver({ size: 200 })
  const { page, feed } = observer
  await observer.open('agents?q=agent:courier')
  await page.getByRole('row', { name: 'courier/main' }).click()
  for (const [incarnation, again] of [
    [2, false],
    [3, true],
  ] as const) {
    await page.getByRole('button', { name: 'Kill…' }).click()
    const sheet = page.getByRole('dialog')
    await sheet.getByText('Restart with it').waitFor()
    if (again) await sheet.getByRole('button', { name: 'does not answer' }).click()
    else await sheet.getByLabel('Reason').fill('does not answer')
    await sheet.getByRole('button', { name: 'Kill Ctrl Enter' }).click()
    await page.getByText(`back as incarnation ${incarnation}`).waitFor()
  }
  expect(feed.world.audit.map((item) => item.reason)).toEqual(['does not answer', 'does not answer'])
})

test('a process reborn under the open sheet is not hit until its operator has seen it', async () => {
  observer = await openObserver({ size: 200 })
  const { page, feed } = observer
  await observer.open('agents?sel=mailer%2Fmain')
  await page.getByRole('button', { name: 'Kill…' }).click()
  const sheet = page.getByRole('dialog')
  await sheet.getByLabel('Reason').fill('looks odd')
  const process = feed.world.processes.get('mailer/main')
  if (process === undefined) throw new Error('The toy world has no mailer.')
  feed.world.crash(process, Date.now())
  await sheet.getByText('Reborn as incarnation 2').waitFor()
  await page.keyboard.press('Control+Enter')
  await sheet.getByText('Look at the new incarnation first').waitFor()
  expect(feed.acts).toBe(0)
  await sheet.getByRole('button', { name: 'Act on incarnation 2' }).click()
  await page.keyboard.press('Control+Enter')
  await page.getByText('back as incarnation 3').waitFor()
})
