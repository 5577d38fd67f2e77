/** What axe finds on a page. Themes change colours alone: in the second one nothing else is looked at. */
import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright-core'

export type ColorScheme = 'dark' | 'light'

export const SCHEMES: readonly ColorScheme[] = ['dark', 'light']

export async function violations(page: Page, place: string, scheme: ColorScheme): Promise<string[]> {
  const axe = new AxeBuilder({ page })
  if (scheme === 'light') axe.withRules(['color-contrast', 'link-in-text-block'])
  const { violations: found } = await axe.analyze()
  return found.map(({ id, nodes }) => `${place}: ${id} ${nodes[0]?.html} ${nodes[0]?.failureSummary}`)
}
