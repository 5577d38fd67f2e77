/** Failures of one process, newest first; each opens its black box. */
import type { FailureRecord, ProcessDetail } from '../../shared/snapshot.ts'
import { useLog, useSubscription } from '../feed/hooks.ts'
import { StateNote } from '../ui/state-note.tsx'
import { FailureItem } from './failure-item.tsx'

export function FailuresTab({ row }: { row: ProcessDetail }) {
  const { entries, loaded } = useLog(useSubscription(`failures:${row.id}`))
  if (!loaded) return <StateNote title="Reading the failures…" />
  if (entries.length === 0) {
    return (
      <StateNote title="It never failed.">
        Each failure leaves its last events, its mailbox and its stack here.
      </StateNote>
    )
  }
  return (
    <ol className="failures">
      {[...entries].reverse().map((entry) =>
        // The topic promises failure records.
        entry.kind === 'gap' ? null : (
          <FailureItem key={entry.key} failure={entry.value as FailureRecord} named={false} />
        ),
      )}
    </ol>
  )
}
