/** The one list of pages. Built-in pages use nothing but this type: a page added by a host looks the same. */
import type { ComponentType } from 'react'
import { AgentsPage } from './pages/agents.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { lazyPart } from './ui/lazy-part.ts'

export type Page = {
  /** Relative to the mount path. */
  path: string
  title: string
  /** Second key after `g`; null keeps the page out of the navigation. */
  key: string | null
  View: ComponentType
}

// What is not seen first is loaded when asked for, or when the browser has nothing to do (main.tsx).
const AgentPage = lazyPart(async () => (await import('./pages/agent.tsx')).AgentPage)
const AuditPage = lazyPart(async () => (await import('./pages/audit.tsx')).AuditPage)
const FailuresPage = lazyPart(async () => (await import('./pages/failures.tsx')).FailuresPage)

export const PAGES: readonly Page[] = [
  { path: '', title: 'Overview', key: 'o', View: OverviewPage },
  { path: 'agents', title: 'Agents', key: 'a', View: AgentsPage },
  { path: 'failures', title: 'Failures', key: 'f', View: FailuresPage },
  { path: 'audit', title: 'Audit', key: 'u', View: AuditPage },
]

const AGENT_PAGE: Page = { path: 'agents/', title: 'Agent', key: null, View: AgentPage }

/** Null for an address nothing is at. */
export function pageOf(path: string): Page | null {
  if (path.startsWith(AGENT_PAGE.path) && path.length > AGENT_PAGE.path.length) return AGENT_PAGE
  return PAGES.find((page) => page.path === path) ?? null
}
