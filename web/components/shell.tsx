/** The frame around every page: navigation, connection, the page's own cost, and the sheets that open from anywhere. */
import { type ReactNode, Suspense, useState, useSyncExternalStore } from 'react'
import { useConnection } from '../feed/hooks.ts'
import { copyText } from '../ui/clipboard.ts'
import { useKeys } from '../ui/keys.ts'
import { lazyPart } from '../ui/lazy-part.ts'
import { Link } from '../ui/link.tsx'
import { go } from '../ui/location.ts'
import { toggleTheme } from '../ui/theme.ts'
import { Toasts } from '../ui/toast.tsx'
import { currentlyAsked, listenAsked } from './action.ts'
import { ConnectionBar, ConnectionChip, useStale } from './connection.tsx'
import { Footer } from './footer.tsx'

const ActionSheet = lazyPart(async () => (await import('./action-sheet.tsx')).ActionSheet)
const HelpSheet = lazyPart(async () => (await import('./help-sheet.tsx')).HelpSheet)
const Palette = lazyPart(async () => (await import('./palette.tsx')).Palette)

export type NavItem = { path: string; title: string; key: string | null }

type ShellProps = { pages: readonly NavItem[]; current: string; children: ReactNode }

export function Shell({ pages, current, children }: ShellProps) {
  const connection = useConnection()
  const stale = useStale()
  const asked = useSyncExternalStore(listenAsked, currentlyAsked)
  const [open, setOpen] = useState<'help' | 'palette' | null>(null)
  useKeys(navigationKeys(pages))
  useKeys({
    '?': () => setOpen('help'),
    'Shift+?': () => setOpen('help'),
    t: toggleTheme,
    '$mod+k': () => setOpen(open === 'palette' ? null : 'palette'),
    y: () => void copyText(window.location.href, 'Link'),
  })
  const away = connection.kind !== 'live'
  return (
    <div className={stale || away ? 'shell shell-stale' : 'shell'}>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <header className="top">
        <Link to="" className="brand">
          <Mark />
          <span>Vivarium</span>
        </Link>
        <nav className="nav" aria-label="Pages">
          {pages.map((page) => (
            <Link key={page.path} to={page.path} className="nav-link" current={page.path === current}>
              {page.title}
            </Link>
          ))}
        </nav>
        <div className="top-end">
          <button type="button" className="top-button" onClick={() => setOpen('palette')}>
            Go to… <kbd>{/Mac/.test(navigator.platform) ? '⌘K' : 'Ctrl K'}</kbd>
          </button>
          <ConnectionChip />
          <button
            type="button"
            className="icon-button"
            aria-label="Switch theme"
            title="Theme (t)"
            onClick={toggleTheme}
          >
            <ThemeMark />
          </button>
          <button
            type="button"
            className="icon-button"
            aria-label="Help"
            title="Help (?)"
            onClick={() => setOpen('help')}
          >
            ?
          </button>
        </div>
      </header>
      <ConnectionBar />
      <main id="main" className="main">
        <Suspense>{children}</Suspense>
      </main>
      <Footer />
      <Suspense>
        {asked === null ? null : <ActionSheet asked={asked} key={asked.id} />}
        {open === 'help' ? <HelpSheet onClose={() => setOpen(null)} /> : null}
        {open === 'palette' ? <Palette pages={pages} onClose={() => setOpen(null)} /> : null}
      </Suspense>
      <Toasts />
    </div>
  )
}

function navigationKeys(pages: readonly NavItem[]) {
  const bindings: Record<string, () => void> = {}
  for (const page of pages) if (page.key !== null) bindings[`g ${page.key}`] = () => go(page.path)
  return bindings
}

function Mark() {
  return (
    <svg className="brand-mark" viewBox="0 0 20 20" aria-hidden="true">
      <circle cx="10" cy="4" r="2.4" fill="currentColor" />
      <circle cx="4.5" cy="15.5" r="2.4" fill="none" stroke="currentColor" strokeWidth="1.6" />
      <circle cx="15.5" cy="15.5" r="2.4" fill="currentColor" />
      <path d="M10 6.6v3.2M10 9.8 5.6 13.4M10 9.8l4.4 3.6" fill="none" stroke="currentColor" strokeWidth="1.6" />
    </svg>
  )
}

function ThemeMark() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" strokeWidth="1.5" />
      <path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" />
    </svg>
  )
}
