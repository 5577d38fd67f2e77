/** Failures of the whole system, and the messages that were given up. */
import type { DeadLetter, FailureRecord } from '../../shared/snapshot.ts'
import { DeadLetterItem } from '../components/dead-letter-item.tsx'
import { FailureItem } from '../components/failure-item.tsx'
import { useItems } from '../components/item-list.ts'
import { adjust, usePlace } from '../ui/location.ts'
import { StateNote } from '../ui/state-note.tsx'
import { Tabs } from '../ui/tabs.tsx'

/** Items shown; the page is for the latest, the API for the rest. */
const SHOWN = 200

export function FailuresPage() {
  const { search } = usePlace()
  const failures = useItems<FailureRecord>('failures')
  const letters = useItems<DeadLetter>('dead-letters')
  const waiting = letters.items.filter((letter) => letter.redeliveredAt === null).length
  const current = search.tab === 'dead-letters' ? 'dead-letters' : 'failures'
  return (
    <div className="page page-narrow">
      <h1 className="page-title">Failures</h1>
      <Tabs
        label="Failures and dead letters"
        tabs={[
          {
            id: 'failures',
            title: 'Failures',
            badge: failures.items.length > 0 ? String(failures.items.length) : undefined,
          },
          { id: 'dead-letters', title: 'Dead letters', badge: waiting > 0 ? String(waiting) : undefined },
        ]}
        current={current}
        onChange={(tab) => adjust({ tab: tab === 'failures' ? undefined : tab })}
      >
        {current === 'failures' ? (
          <FailureList failures={failures.items} loaded={failures.loaded} />
        ) : (
          <DeadLetterList letters={letters.items} loaded={letters.loaded} />
        )}
      </Tabs>
    </div>
  )
}

function FailureList({ failures, loaded }: { failures: readonly FailureRecord[]; loaded: boolean }) {
  if (!loaded) return <StateNote title="Reading the failures…" />
  if (failures.length === 0) {
    return (
      <StateNote title="No failures.">Each failure leaves a record here: what, where, and what was decided.</StateNote>
    )
  }
  return (
    <ol className="failures">
      {failures.slice(0, SHOWN).map((failure) => (
        <FailureItem key={failure.id} failure={failure} named />
      ))}
    </ol>
  )
}

function DeadLetterList({ letters, loaded }: { letters: readonly DeadLetter[]; loaded: boolean }) {
  if (!loaded) return <StateNote title="Reading the dead letters…" />
  if (letters.length === 0) {
    return (
      <StateNote title="No dead letters.">
        A message that fails every attempt, or is dropped by hand, ends here.
      </StateNote>
    )
  }
  return (
    <ol className="failures">
      {letters.slice(0, SHOWN).map((letter) => (
        <DeadLetterItem key={letter.id} letter={letter} />
      ))}
    </ol>
  )
}
