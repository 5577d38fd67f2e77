import { AxeBuilder } from '@axe-core/playwright'
import { afterEach, expect, test } from 'vitest'
import { type ObserverPage, openObserver } from '../support/observer-page.ts'

let observer: ObserverPage

afterEach(() => observer.close())

const PAGES: Readonly<Record<string, string>> = {
  overview: '',
  agents: 'agents',
  'inspector, now': 'agents?sel=order%2F1012',
  'inspector, state': 'agents?sel=order%2F1001&tab=state',
  'inspector, timeline': 'agents?sel=order%2F1001&tab=timeline',
  'inspector, mailbox': 'agents?sel=mailer%2Fmain&tab=mailbox',
  'inspector, failures': 'agents?sel=courier%2Fmain&tab=failures',
  'full page': 'agents/supervisor%2Ffulfilment',
  failures: 'failures',
  'dead letters': 'failures?tab=dead-letters',
  audit: 'audit',
}

for (const colorScheme of ['dark', 'light'] as const) {
  test(`axe finds nothing on any page or sheet, ${colorScheme}`, async () => {
    observer = await openObserver({ size: 200, context: { colorScheme } })
    const { page, feed } = observer
    const courier = feed.world.processes.get('courier/main')
    const mailer = feed.world.processes.get('mailer/main')
    if (courier === undefined || mailer === undefined) throw new Error('The toy world is not as it should be.')
    for (let i = 0; i < 3; i++) feed.world.crash(courier, Date.now())
    for (let i = 0; i < 3; i++) mailer.enqueue('mail', 'order/1001', Date.now())
    feed.world.act({ verb: 'suspend', target: 'order/1007', reason: 'to look' })
    const found: string[] = []
    const look = async (name: string) => {
      const { violations } = await new AxeBuilder({ page }).analyze()
      for (const { id, nodes } of violations) found.push(`${name}: ${id} ${nodes[0]?.html} ${nodes[0]?.failureSummary}`)
    }
    for (const [name, path] of Object.entries(PAGES)) {
      await observer.open(path)
      await page.locator('h1').waitFor({ state: 'attached' })
      await page.getByText(/Asking the server|Reading the/).waitFor({ state: 'detached' })
      for (const head of await page.locator('.entry-head').all()) {
        await head.click()
        break
      }
      await look(name)
    }
    await observer.open('agents?sel=courier%2Fmain')
    await page.getByRole('tab', { name: 'Now' }).waitFor()
    await page.keyboard.press('Shift+K')
    await page.getByRole('dialog').getByText('Queue').waitFor()
    await look('kill sheet')
    await page.keyboard.press('Escape')
    await page.keyboard.press('Shift+?')
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor()
    await look('help')
    await page.keyboard.press('Escape')
    await page.keyboard.press('Control+k')
    await page.getByRole('dialog', { name: 'Go to' }).waitFor()
    await look('palette')
    expect(found).toEqual([])
  })
}
