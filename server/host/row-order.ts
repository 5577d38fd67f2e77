/** Orders of process lists. Ties are broken by id, so that pages neither repeat nor miss a row. */
import type { ProcessRow } from '../../shared/snapshot.ts'

type Key = (row: ProcessRow) => string | number

const KEYS: Readonly<Record<string, Key>> = {
  id: (row) => row.id,
  status: (row) => row.status,
  mailbox: (row) => row.mailbox,
  turns: (row) => row.turns,
  busyMs: (row) => row.busyMs,
  restarts: (row) => row.restarts,
  failures: (row) => row.failures,
  since: (row) => row.since,
}

export function compareRows(sort: string, dir: 'asc' | 'desc'): (a: ProcessRow, b: ProcessRow) => number {
  const key = KEYS[sort] ?? byId
  const sign = dir === 'desc' ? -1 : 1
  return (a, b) => {
    const x = key(a)
    const y = key(b)
    if (x !== y) return (x < y ? -1 : 1) * sign
    return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
  }
}

function byId(row: ProcessRow): string {
  return row.id
}
