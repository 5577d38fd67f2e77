/** Starts the observer: theme, feed, and the page the address names. */
import './feed/jitless.ts'
import '@fontsource-variable/inter/wght.css'
import '@fontsource-variable/jetbrains-mono/wght.css'
import './theme.css'
import './ui/ui.css'
import './components/components.css'
import './components/inspector.css'
import './pages/pages.css'
import { useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { Shell } from './components/shell.tsx'
import { FeedClient } from './feed/client.ts'
import { FeedContext } from './feed/hooks.ts'
import { PAGES, pageOf } from './routes.ts'
import { ErrorBoundary } from './ui/error-boundary.tsx'
import { resolve, usePlace } from './ui/location.ts'
import { StateNote } from './ui/state-note.tsx'
import { applyTheme } from './ui/theme.ts'

const LATER = [
  () => import('./components/inspector.tsx'),
  () => import('./components/action-sheet.tsx'),
  () => import('./components/palette.tsx'),
  () => import('./components/help-sheet.tsx'),
  () => import('./pages/agent.tsx'),
  () => import('./pages/failures.tsx'),
  () => import('./pages/audit.tsx'),
]

function Observer() {
  const { path } = usePlace()
  const page = pageOf(path)
  useEffect(() => {
    document.title = page === null ? 'Vivarium' : `${page.title} · Vivarium`
  }, [page])
  return (
    <Shell pages={PAGES} current={path.split('/')[0] ?? ''}>
      <ErrorBoundary key={path}>
        {page === null ? (
          <div className="page">
            <h1 className="page-title">Nothing here</h1>
            <StateNote title={`There is no page “${path}”.`}>The pages are in the bar above.</StateNote>
          </div>
        ) : (
          <page.View />
        )}
      </ErrorBoundary>
    </Shell>
  )
}

function feedUrl(): string {
  const url = resolve('api/v1/feed')
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no element #root.')
applyTheme()
const feed = new FeedClient(feedUrl())
feed.start()
createRoot(root).render(
  <FeedContext value={feed}>
    <Observer />
  </FeedContext>,
)

// The rest of the pages, once the first one stands: a key press must not wait for the network.
const idle = window.requestIdleCallback ?? ((run: () => void) => setTimeout(run, 2_000))
idle(() => {
  // One that cannot be had now is asked for again by whoever needs it (ui/lazy-part.ts).
  for (const load of LATER) load().catch(() => {})
})
