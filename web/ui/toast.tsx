/** Short news about something the reader started. Each stays until its story has ended, then a little longer. */
import { useSyncExternalStore } from 'react'
import { Link } from './link.tsx'

export type ToastTone = 'progress' | 'good' | 'bad'
export type Toast = {
  id: string
  tone: ToastTone
  title: string
  text: string
  /** Where to see what came of it. */
  link?: { to: string; text: string }
}

/** Milliseconds a finished toast stays, and one with a link to follow; failures stay until closed. */
const STAY_MS = 6_000
const LINK_STAY_MS = 20_000
const TOASTS_MAX = 5

const listeners = new Set<() => void>()
const timers = new Map<string, ReturnType<typeof setTimeout>>()
let toasts: readonly Toast[] = []

/** Shows or replaces the toast of this id. */
export function showToast(toast: Toast): void {
  const others = toasts.filter((each) => each.id !== toast.id)
  set([...others, toast].slice(-TOASTS_MAX))
  clearTimeout(timers.get(toast.id))
  timers.delete(toast.id)
  if (toast.tone === 'good')
    timers.set(
      toast.id,
      setTimeout(() => closeToast(toast.id), toast.link === undefined ? STAY_MS : LINK_STAY_MS),
    )
}

export function closeToast(id: string): void {
  clearTimeout(timers.get(id))
  timers.delete(id)
  set(toasts.filter((toast) => toast.id !== id))
}

function set(next: readonly Toast[]): void {
  toasts = next
  for (const listener of listeners) listener()
}

function listen(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function Toasts() {
  const shown = useSyncExternalStore(listen, () => toasts)
  return (
    <section className="toasts" aria-label="Actions" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className={`toast toast-${toast.tone}`} role="status">
          <span className="toast-mark" aria-hidden="true" />
          <div className="toast-text">
            <strong>{toast.title}</strong>
            <span>{toast.text}</span>
            {toast.link === undefined ? null : (
              <Link to={toast.link.to} className="toast-link">
                {toast.link.text}
              </Link>
            )}
          </div>
          <button type="button" className="icon-button" aria-label="Close message" onClick={() => closeToast(toast.id)}>
            ×
          </button>
        </div>
      ))}
    </section>
  )
}
