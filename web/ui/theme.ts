/** Theme: as the system says until the reader chooses. The choice is kept on this machine. */
const KEY = 'vivarium.theme'
export type Theme = 'system' | 'dark' | 'light'

export function theme(): Theme {
  const kept = localStorage.getItem(KEY)
  return kept === 'dark' || kept === 'light' ? kept : 'system'
}

export function applyTheme(chosen: Theme = theme()): void {
  if (chosen === 'system') localStorage.removeItem(KEY)
  else localStorage.setItem(KEY, chosen)
  document.documentElement.dataset.theme = chosen
}

/** From whatever is shown now to the other one. */
export function toggleTheme(): void {
  const kept = theme()
  const dark = kept === 'system' ? matchMedia('(prefers-color-scheme: dark)').matches : kept === 'dark'
  applyTheme(dark ? 'light' : 'dark')
}
