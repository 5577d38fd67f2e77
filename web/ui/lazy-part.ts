/**
 * Parts of the page that are loaded when needed. One that could not be fetched - the server was away, or was built anew
 * and has it under another name - is not asked for again by a browser: the page is loaded again once the server
 * answers. Everything the reader looks at is in the address, so nothing is lost by it. Meanwhile the connection notice
 * says what is wrong, and no panel is broken.
 */
import { type ComponentType, type LazyExoticComponent, lazy } from 'react'

/** Ms between looks for the server: as the feed's own tries to come back, about. */
const LOOK_MS = 1_000
/** Ms between reloads for a missing part: a server that is broken for good must not make the page blink. */
const RELOAD_MS_MIN = 60_000
const RELOADED_KEY = 'vivarium.reloaded'

export function lazyPart<P>(load: () => Promise<ComponentType<P>>): LazyExoticComponent<ComponentType<P>> {
  return lazy(async () => ({ default: await patiently(load) }))
}

async function patiently<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    while (!(await isThere())) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    if (!reload()) throw error
    return new Promise<never>(() => {}) // the page is on its way out
  }
}

/** Whether the server that gave us this page answers. */
async function isThere(): Promise<boolean> {
  try {
    return (await fetch(document.baseURI, { method: 'HEAD', cache: 'no-store' })).ok
  } catch {
    return false // no answer is the answer
  }
}

/** False when the page was loaded again for this reason just now. */
function reload(): boolean {
  const now = Date.now()
  if (now - Number(sessionStorage.getItem(RELOADED_KEY) ?? 0) < RELOAD_MS_MIN) return false
  sessionStorage.setItem(RELOADED_KEY, String(now))
  location.reload()
  return true
}
