/** An anchor that stays in the page unless the reader asks for a new tab. */
import type { MouseEvent, ReactNode } from 'react'
import { go, hrefOf } from './location.ts'

type LinkProps = {
  to: string
  search?: Readonly<Record<string, string | undefined>>
  className?: string
  current?: boolean
  title?: string
  /** False for one inside a grid, which is one stop by itself. */
  inTabOrder?: boolean
  children: ReactNode
}

export function Link({ to, search, className, current, title, inTabOrder = true, children }: LinkProps) {
  const onClick = (event: MouseEvent) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
    event.preventDefault()
    go(to, search)
  }
  return (
    <a
      href={hrefOf(to, search)}
      className={className}
      aria-current={current ? 'page' : undefined}
      title={title}
      tabIndex={inTabOrder ? undefined : -1}
      onClick={onClick}
    >
      {children}
    </a>
  )
}
