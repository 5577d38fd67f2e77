/** State: the last committed value with its version; what the last commit changed is marked. */
import { useEffect, useMemo, useState } from 'react'
import type { ProcessDetail, StateSnapshot } from '../../shared/snapshot.ts'
import { type BlobState, useBlob, useConnection } from '../feed/hooks.ts'
import { Chip } from '../ui/chip.tsx'
import { clockText } from '../ui/duration.ts'
import { jsonMarks } from '../ui/json-node.ts'
import { JsonTree } from '../ui/json-tree.tsx'
import { bytesText, countText, plural } from '../ui/quantity.ts'
import { StateNote } from '../ui/state-note.tsx'
import { ask, isMendable } from './action.ts'
import { patchMarks } from './patch-mark.ts'

export function StateTab({ row }: { row: ProcessDetail }) {
  const connected = useConnection().kind === 'live'
  const state = useBlob(`state:${row.id}`, row.stateVersion)
  const snapshot = snapshotOf(state)
  const pair = useChange(snapshot)
  const made = snapshot?.seq ?? null
  // The first value has none before it to compare with: the journal entry that made it says what it changed.
  const entry = useBlob(`journal:${row.id}:${made}`, made, made !== null && pair.before === null)
  const marks = useMemo(
    () => (pair.before === null ? patchMarks(entry.blob?.body) : jsonMarks(pair.before.value, pair.after?.value)),
    [pair, entry.blob],
  )
  if (snapshot === null) {
    return state.problem === null ? (
      <StateNote title="Reading the state…" />
    ) : (
      <StateNote title={state.problem.detail} />
    )
  }
  return (
    <div className="tab-state">
      <div className="tab-bar">
        <strong>version {countText(snapshot.version)}</strong>
        {snapshot.at === null ? null : <span className="dim">committed {clockText(snapshot.at)}</span>}
        {state.blob === null ? null : <span className="dim">{bytesText(state.blob.bytes)}</span>}
        {state.blob?.truncated ? <Chip tone="warning">truncated: only the head is shown</Chip> : null}
        {snapshot.version < row.stateVersion ? (
          <Chip tone="notice">version {row.stateVersion} is on its way</Chip>
        ) : null}
        <span className="tab-bar-end">
          {isMendable(row) && row.status !== 'exited' ? (
            <button
              type="button"
              className="button button-small"
              disabled={!connected}
              title={connected ? 'Edit state… (E)' : 'Not connected'}
              onClick={() => ask({ verb: 'edit-state', id: row.id, incarnation: row.incarnation })}
            >
              Edit…
            </button>
          ) : null}
          {marks.size === 0 ? (
            <span className="dim">changes are marked</span>
          ) : (
            <span className="change-note">
              {plural(marks.size, 'change')} {pair.before === null ? 'in this commit' : `since v${pair.before.version}`}
            </span>
          )}
        </span>
      </div>
      {state.blob?.truncated && typeof snapshot.value === 'string' ? (
        <pre className="state-head">{snapshot.value}</pre>
      ) : (
        <JsonTree value={snapshot.value} label={`State of ${row.id}`} marks={marks} />
      )}
    </div>
  )
}

type Change = { before: StateSnapshot | null; after: StateSnapshot | null }

/** The shown value and the one before it, by version. */
function useChange(snapshot: StateSnapshot | null): Change {
  const [pair, setPair] = useState<Change>({ before: null, after: null })
  useEffect(() => {
    if (snapshot === null) return
    setPair((was) => {
      if (was.after === null || was.after.version === snapshot.version) return { ...was, after: snapshot }
      return { before: was.after, after: snapshot }
    })
  }, [snapshot])
  return pair
}

function snapshotOf({ blob }: BlobState): StateSnapshot | null {
  const body = blob?.body
  if (typeof body !== 'object' || body === null || !('value' in body)) return null
  return body as StateSnapshot // `state:` references promise it
}
