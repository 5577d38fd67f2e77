/** A small statement about what one looks at. */
import type { ReactNode } from 'react'

export type ChipTone = 'plain' | 'good' | 'notice' | 'warning' | 'critical'

export function Chip({ tone = 'plain', title, children }: { tone?: ChipTone; title?: string; children: ReactNode }) {
  return (
    <span className={`chip chip-${tone}`} title={title}>
      {children}
    </span>
  )
}
