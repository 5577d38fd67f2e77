/** A page of the observer on a toy feed, for browser tests; watched-page.ts says what it must never do. */
import type { BrowserContextOptions, Page } from 'playwright-core'
import { startToyFeed, type ToyFeed, type ToyOptions } from './toy-feed.ts'
import { openLive, openWatchedPage } from './watched-page.ts'

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
  const watched = await openWatchedPage(feed.url, options.context)
  const { page } = watched
  return {
    page,
    feed,
    open: (path) => openLive(page, new URL(path, feed.url).href),
    close: async (expected) => {
      try {
        await watched.close(expected)
      } finally {
        await feed.close()
      }
    },
  }
}
