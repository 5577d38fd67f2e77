/// <reference lib="dom" />
/**
 * A page of the observer on a toy feed, for browser tests. It fails the test on anything a page must never do: an
 * error, a breach of the content security policy, a request to another origin.
 */
import assert from 'node:assert/strict'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { launchChromium } from './chromium.ts'
import { startToyFeed, type ToyFeed, type ToyOptions } from './toy-feed.ts'

export type ObserverPage = {
  readonly page: Page
  readonly feed: ToyFeed
  /** Opens an address relative to the mount path and waits for the first data. */
  open(path: string): Promise<void>
  /** Messages of errors that are part of the test (a dropped connection) are removed by `expected`. */
  close(expected?: RegExp): Promise<void>
}

export async function openObserver(options: ToyOptions & { context?: BrowserContextOptions }): Promise<ObserverPage> {
  const feed = await startToyFeed(options)
  const browser: Browser = await launchChromium()
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options.context })
  const page = await context.newPage()
  const complaints: string[] = []
  const origin = new URL(feed.url).origin
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
    feed,
    open: async (path) => {
      await page.goto(new URL(path, feed.url).href)
      await page.getByText('live', { exact: true }).waitFor()
    },
    close: async (expected) => {
      await browser.close()
      await feed.close()
      const left = complaints.filter((complaint) => expected?.test(complaint) !== true)
      assert.deepEqual(left, [])
    },
  }
}
