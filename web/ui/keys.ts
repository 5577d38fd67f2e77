/**
 * Keyboard shortcuts. Single keys never fire while typing and can be turned off (WCAG 2.1.4); combinations with
 * Ctrl or ⌘ always work.
 */
import { useEffect, useRef } from 'react'
import { tinykeys } from 'tinykeys'

export type KeyMap = Readonly<Record<string, () => void>>

/** Milliseconds in which a second key belongs to a `g` before it. */
const SEQUENCE_MS = 1_000

let sequenceUntil = 0
window.addEventListener('keydown', (event) => {
  // Set after the bindings ran, so that `g` itself and the key that ends the sequence see the state before.
  const until = event.key === 'g' ? Date.now() + SEQUENCE_MS : 0
  queueMicrotask(() => {
    sequenceUntil = until
  })
})

const OFF_KEY = 'vivarium.keys.off'

export function singleKeysOn(): boolean {
  return localStorage.getItem(OFF_KEY) === null
}

export function setSingleKeys(on: boolean): void {
  if (on) localStorage.removeItem(OFF_KEY)
  else localStorage.setItem(OFF_KEY, '1')
}

/** Binds while mounted. An open modal dialog owns the keyboard: only its own bindings (`inDialog`) fire then. */
export function useKeys(map: KeyMap, inDialog = false): void {
  const latest = useRef(map)
  latest.current = map
  const names = Object.keys(map).join('\n')
  useEffect(() => {
    if (names === '') return
    const bindings: Record<string, (event: KeyboardEvent) => void> = {}
    for (const name of names.split('\n')) {
      bindings[name] = (event) => {
        if (event.defaultPrevented || !allowed(event, name, inDialog)) return
        // Otherwise the key would be typed into the field that the binding opens and focuses.
        event.preventDefault()
        latest.current[name]?.()
      }
    }
    // What a text field may use is decided above, per binding: by default even Ctrl+Enter would be ignored there.
    return tinykeys(window, bindings, { ignore: (event) => event.repeat || event.isComposing })
  }, [names, inDialog])
}

function allowed(event: KeyboardEvent, name: string, inDialog: boolean): boolean {
  if (name.includes('$mod')) return true
  if (!inDialog && document.querySelector('dialog[open]') !== null) return false
  const target = event.target instanceof HTMLElement ? event.target : null
  if (name === 'Escape') return true
  if (!name.includes(' ') && Date.now() < sequenceUntil) return false
  if (target?.closest('input, textarea, select, [contenteditable]')) return false
  // Enter and Space belong to a focused button or link; everything else is ours.
  if ((name === 'Enter' || name === 'Space') && target?.closest('button, a, summary, [role=tab]')) return false
  return singleKeysOn()
}
