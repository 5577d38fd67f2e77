/** A process status: shape and word as well as colour, so that it reads without colour. */
import type { ProcessStatus } from '../../shared/snapshot.ts'

export function Status({ status }: { status: ProcessStatus }) {
  return (
    <span className={`status st-${status}`}>
      <StatusMark status={status} />
      {status}
    </span>
  )
}

export function StatusMark({ status }: { status: ProcessStatus }) {
  return (
    <svg className={`status-mark st-${status}`} viewBox="0 0 12 12" aria-hidden="true">
      {shapeOf(status)}
    </svg>
  )
}

function shapeOf(status: ProcessStatus) {
  switch (status) {
    case 'running':
      return <circle cx="6" cy="6" r="4.5" fill="currentColor" />
    case 'idle':
      return <circle cx="6" cy="6" r="3.5" fill="none" stroke="currentColor" strokeWidth="1.5" />
    case 'passive':
      return <circle cx="6" cy="6" r="3.5" fill="none" stroke="currentColor" strokeWidth="1.5" strokeDasharray="2 2" />
    case 'waiting':
      return (
        <>
          <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" strokeWidth="1.5" />
          <path d="M6 3.6V6.2L7.6 7.2" fill="none" stroke="currentColor" strokeWidth="1.4" />
        </>
      )
    case 'suspended':
      return <path d="M3 2h2v8H3zM7 2h2v8H7z" fill="currentColor" />
    case 'starting':
      return <path d="M3 2 10 6 3 10z" fill="currentColor" />
    case 'restarting':
      return (
        <path d="M9.9 4.2A4.3 4.3 0 1 0 10.3 7M10.4 1.6V4.6H7.4" fill="none" stroke="currentColor" strokeWidth="1.5" />
      )
    case 'diverged':
      return <path d="M6 11V7L2.5 2M6 7 9.5 2" fill="none" stroke="currentColor" strokeWidth="1.6" />
    case 'exited':
      return <path d="M2.5 2.5l7 7M9.5 2.5l-7 7" fill="none" stroke="currentColor" strokeWidth="1.6" />
    default:
      return status satisfies never
  }
}
