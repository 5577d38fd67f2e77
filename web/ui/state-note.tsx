/** What a panel says when it has nothing to show: why, and what to do. */
import type { ReactNode } from 'react'

export function StateNote({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="state-note">
      <p className="state-note-title">{title}</p>
      {children === undefined ? null : <div className="state-note-text">{children}</div>}
    </div>
  )
}
