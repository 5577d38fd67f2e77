/** Where a diverged process left its journal, from memory or from the row that says so, with lines for people. */
import { type Divergence, divergenceText } from '../../shared/divergence.ts'
import type { DivergenceView } from '../../shared/snapshot.ts'
import { decodeEntries } from '../journal/entry.ts'
import type { Archive } from '../store/archive.ts'
import type { ProcessRecord } from '../store/store.ts'

/** Rows looked through: a parked process writes nothing but what it answers or lets go. */
const ROWS_MAX = 50

export function divergenceView(divergence: Divergence | null): { divergence?: DivergenceView } {
  return divergence === null ? {} : { divergence: { ...divergence, text: divergenceText(divergence) } }
}

export async function storedDivergence(archive: Archive, record: ProcessRecord): Promise<Divergence | null> {
  if (!record.diverged) return null
  for (const row of await archive.journal(record.pid, { limit: ROWS_MAX })) {
    const entry = decodeEntries(row.payload).findLast((one) => one.k === 'diverged')
    if (entry !== undefined) return entry.where ?? null
  }
  return null
}
