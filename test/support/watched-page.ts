/// <reference lib="dom" />
/**
 * A page of the observer in a browser of its own. It fails the test on anything a page must never do: an error, a
 * breach of the content security policy, a request to another origin.
 */
import assert from 'node:assert/strict'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { launchChromium } from './chromium.ts'

export type WatchedPage = {
  readonly page: Page
  /** Messages of errors that are part of the test (a dropped connection) are removed by `expected`. */
  close(expected?: RegExp): Promise<void>
}

export async function openWatchedPage(url: string, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const browser: Browser = await launchChromium()
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
  const page = await context.newPage()
  const complaints: string[] = []
  const { origin } = new URL(url)
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`console: ${message.text()}`)
  })
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) complaints.push(`external request: ${request.url()}`)
  })
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`)
    })
  })
  return {
    page,
    close: async (expected) => {
      await browser.close()
      const left = complaints.filter((complaint) => expected?.test(complaint) !== true)
      assert.deepEqual(left, [])
    },
  }
}

/** Opens an address and waits for the connection. */
export async function openLive(page: Page, url: string): Promise<void> {
  await page.goto(url)
  await page.getByText('live', { exact: true }).waitFor()
}
