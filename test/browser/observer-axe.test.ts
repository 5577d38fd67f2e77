import { afterEach, expect, test } from 'vitest'
import { SCHEMES, violations } from '../support/axe.ts'
import { type ObserverPage, openObserver } from '../support/observer-page.ts'
import type { ToyWorld } from '../support/toy-world.ts'

let observer: ObserverPage

afterEach(() => observer.close())

const GROUPS: Readonly<Record<string, readonly string[]>> = {
  pages: ['', 'agents', 'failures', 'failures?tab=dead-letters', 'audit', 'agents/supervisor%2Ffulfilment'],
  'the inspector': [
    'agents?sel=order%2F1012',
    'agents?sel=order%2F1001&tab=state',
    'agents?sel=order%2F1001&tab=timeline',
    'agents?sel=mailer%2Fmain&tab=mailbox',
    'agents?sel=courier%2Fmain&tab=failures',
  ],
}

for (const colorScheme of SCHEMES) {
  for (const [group, paths] of Object.entries(GROUPS)) {
    test(`axe finds nothing on ${group}, ${colorScheme}`, async () => {
      observer = await openObserver({ size: 200, context: { colorScheme } })
      const { page, feed } = observer
      makeThingsHappen(feed.world)
      const found: string[] = []
      for (const path of paths) {
        await observer.open(path)
        await page.locator('h1').waitFor({ state: 'attached' })
        await page.getByText(/Asking the server|Reading the/).waitFor({ state: 'detached' })
        const heads = page.locator('.entry-head')
        if ((await heads.count()) > 0) await heads.first().click()
        found.push(...(await violations(page, path, colorScheme)))
      }
      expect(found).toEqual([])
    })
  }

  test(`axe finds nothing on the sheets, ${colorScheme}`, async () => {
    observer = await openObserver({ size: 200, context: { colorScheme } })
    const { page } = observer
    await observer.open('agents?sel=courier%2Fmain')
    await page.getByRole('tab', { name: 'Now' }).waitFor()
    const found: string[] = []
    await page.keyboard.press('Shift+K')
    await page.getByRole('dialog').getByText('Queue').waitFor()
    found.push(...(await violations(page, 'kill', colorScheme)))
    await page.keyboard.press('Escape')
    await page.keyboard.press('Shift+M')
    await page.getByRole('dialog').getByLabel('Operation').waitFor()
    found.push(...(await violations(page, 'send', colorScheme)))
    await page.keyboard.press('Escape')
    await page.keyboard.press('Shift+?')
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor()
    found.push(...(await violations(page, 'help', colorScheme)))
    await page.keyboard.press('Escape')
    await page.keyboard.press('Control+k')
    await page.getByRole('dialog', { name: 'Go to' }).waitFor()
    found.push(...(await violations(page, 'palette', colorScheme)))
    expect(found).toEqual([])
  })
}

/** Failures, waiting messages and an audit entry, so that no list is empty. */
function makeThingsHappen(world: ToyWorld): void {
  const courier = world.processes.get('courier/main')
  const mailer = world.processes.get('mailer/main')
  if (courier === undefined || mailer === undefined) throw new Error('The toy world is not as it should be.')
  for (let i = 0; i < 3; i++) world.crash(courier, Date.now())
  for (let i = 0; i < 3; i++) mailer.enqueue('mail', 'order/1001', Date.now())
  world.act({ verb: 'suspend', target: 'order/1007', reason: 'to look' })
}
