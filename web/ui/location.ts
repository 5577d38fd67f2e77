/**
 * The address bar as state: where we are, relative to the mount path (`<base href>`), and how to go elsewhere.
 *
 * - Paths here have no leading slash and no mount path: `agents`, `agents/order%2F7`, '' for the start page.
 * - `go` adds an entry to the history, `adjust` replaces it: typing in a filter must not fill the back button.
 */
import { useSyncExternalStore } from 'react'

export type Search = Readonly<Record<string, string>>
export type Place = { path: string; search: Search }

const base = new URL('.', document.baseURI)
const listeners = new Set<() => void>()
let place = read()

window.addEventListener('popstate', renew)

export function usePlace(): Place {
  return useSyncExternalStore(listen, () => place)
}

/** A URL for links; empty values are left out. */
export function hrefOf(path: string, search: Readonly<Record<string, string | undefined>> = {}): string {
  const url = new URL(path, base)
  for (const [key, value] of Object.entries(search)) if (value) url.searchParams.set(key, value)
  return url.pathname + url.search
}

export function go(path: string, search: Readonly<Record<string, string | undefined>> = {}): void {
  history.pushState(null, '', hrefOf(path, search))
  renew()
}

/** Changes some parameters and leaves the rest; `undefined` or '' removes one. */
export function adjust(change: Readonly<Record<string, string | undefined>>): void {
  history.replaceState(null, '', hrefOf(place.path, { ...place.search, ...change }))
  renew()
}

/** As `adjust`, with an entry in the history: opening and closing a panel is a step one can go back. */
export function step(change: Readonly<Record<string, string | undefined>>): void {
  go(place.path, { ...place.search, ...change })
}

/** Where the feed and other relative addresses are. */
export function resolve(relative: string): URL {
  return new URL(relative, base)
}

function listen(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function renew(): void {
  place = read()
  for (const listener of listeners) listener()
}

function read(): Place {
  const url = new URL(window.location.href)
  const path = url.pathname.startsWith(base.pathname) ? url.pathname.slice(base.pathname.length) : ''
  return { path: path.replace(/\/$/, ''), search: Object.fromEntries(url.searchParams) }
}
