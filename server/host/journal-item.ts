/** Journal rows as people read them: one sentence per row, the entries below it. */
import type { JournalItem } from '../../shared/snapshot.ts'
import { decodeEntries, type Entry } from '../journal/entry.ts'
import type { TreeNote } from '../journal/tree-state.ts'
import type { ShownRow } from '../store/archive.ts'

export function journalItem(row: ShownRow): JournalItem {
  const entries = decodeEntries(row.payload)
  return {
    seq: row.seq,
    at: row.at,
    kind: entries.at(-1)?.k ?? 'consumed',
    summary: entries.length === 0 ? 'consumed messages' : entries.map(summary).join('; '),
    turns: [...row.turnIds],
    cause: row.cause,
    root: row.root,
    traceparent: row.traceparent,
    actor: row.actor,
    stateVersion: row.stateVersion,
    bytes: row.payload.length + row.omitted,
    payload: entries,
  }
}

function summary(entry: Entry): string {
  switch (entry.k) {
    case 'init':
      return 'first state'
    case 'accepted':
      return `accepted ${entry.message.op}`
    case 'step':
      return stepSummary(entry)
    case 'opened':
      return `step ${entry.key} begun${entry.token === null ? '' : ', to be completed from outside'}`
    case 'retry':
      return `attempt ${entry.attempt} of step ${entry.key} failed: ${entry.err.code}`
    case 'progress':
      return `progress of step ${entry.key}`
    case 'handed':
      return `step ${entry.key} waits for its outcome from outside`
    case 'called':
      return `called ${entry.op} of ${entry.target}`
    case 'refused':
      return `send ${entry.n} refused: ${entry.error.code}`
    case 'reply':
      return `answer to ${entry.key}${'ok' in entry.out ? '' : `: ${entry.out.err.code}`}`
    case 'due':
      return `${entry.key} waits until ${new Date(entry.due).toISOString()}`
    case 'received':
      return entry.message === null ? `${entry.key} got nothing in time` : `received ${entry.message.op}`
    case 'cancel':
      return `cancelled${entry.by === null ? '' : ` by ${entry.by}`}${entry.reason === null ? '' : `: ${entry.reason}`}`
    case 'cancelled':
      return `${entry.key} given up${entry.scope === undefined ? '' : ` with ${entry.scope}`}`
    case 'child':
      return `child ${entry.process}: ${entry.policy === 'stop' ? 'stopped' : 'waited for'} at the end`
    case 'undo':
      return `rollback ${entry.name} registered`
    case 'rollback':
      return `rolls back ${count(entry.undo.length, 'step')}: ${entry.cause}`
    case 'rolled-back':
      return entry.failed.length === 0
        ? 'rolled back'
        : `rolled back, failed: ${entry.failed.map(({ name }) => name).join(', ')}`
    case 'woke':
      return `${entry.key} is over`
    case 'checkpoint':
      return checkpointSummary(entry)
    case 'end':
      return endSummary(entry)
    case 'failed':
      return `attempt ${entry.attempt} failed: ${entry.decision}`
    case 'upgrade':
      return `state upgraded from version ${entry.from} to ${entry.to}`
    case 'exit':
      return `incarnation ${entry.incarnation} ended`
    case 'diverged':
      return divergedSummary(entry)
    case 'edited':
      return `${entry.to === null ? 'state edited' : `state of version ${entry.to} set again`} by ${byWhom(entry)}`
    case 'retried':
      return `runs again from ${entry.kept === 0 ? 'the start' : `result ${entry.kept + 1}`}, by ${byWhom(entry)}`
    case 'forked':
      return forkedSummary(entry)
    case 'patched':
      return `goes on with the code behind ${entry.id}`
    case 'recovered':
      return `node died with this turn in hand, ${count(entry.recoveries, 'time')} in all`
    case 'suspected':
      return `suspected of killing its node, runs alone for the ${entry.alone}. time`
    case 'tree':
      return treeSummary(entry)
    default:
      return entry satisfies never
  }
}

function stepSummary({ key, out, attempts, by }: Extract<Entry, { k: 'step' }>): string {
  const after = attempts > 1 ? ` after ${attempts} attempts` : ''
  const given = by === undefined ? '' : `, answered by ${by}`
  return `step ${key} ${'ok' in out ? 'done' : 'failed'}${after}${given}`
}

function checkpointSummary(entry: Extract<Entry, { k: 'checkpoint' }>): string {
  const what = entry.result === undefined ? 'checkpoint' : 'transaction'
  return `${what}, ${count(entry.patches.length, 'change')}${withheldText(entry)}`
}

function endSummary(entry: Extract<Entry, { k: 'end' }>): string {
  const { op, how, patches, sent, withheld } = entry
  const left = sent > 0 && withheld === undefined ? `, ${count(sent, 'message')} sent` : withheldText(entry)
  return `${op} ${how}, ${count(patches.length, 'change')}${left}`
}

function forkedSummary(entry: Extract<Entry, { k: 'forked' }>): string {
  const at = entry.version === null ? '' : ` at version ${entry.version}`
  return `sandbox copy of ${entry.of}${at}, by ${byWhom(entry)}`
}

/** What did not leave a sandbox. */
function withheldText({ withheld }: Extract<Entry, { k: 'end' | 'checkpoint' }>): string {
  if (withheld === undefined) return ''
  const shown = withheld
    .slice(0, NOTES_SHOWN)
    .map(({ what, target, op }) => `${what} ${target}${op === null ? '' : ` ${op}`}`)
  const more = withheld.length - NOTES_SHOWN
  return `, withheld: ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function byWhom({ by, why }: Extract<Entry, { k: 'edited' | 'retried' | 'forked' }>): string {
  return why === null ? by : `${by}: ${why}`
}

function divergedSummary({ expected, found, where }: Extract<Entry, { k: 'diverged' }>): string {
  const what = `diverged: journal expects ${expected}, code asks for ${found}`
  if (where === undefined) return what
  const { position, recorded, recordedBy, runs } = where
  return `${what} at result ${position} of ${recorded} (code ${recordedBy} then, ${runs} now)`
}

/** Changes told in one sentence; the others are in the payload. */
const NOTES_SHOWN = 5

function treeSummary({ notes, untold }: Extract<Entry, { k: 'tree' }>): string {
  const more = notes.length + untold - NOTES_SHOWN
  const shown = notes.slice(0, NOTES_SHOWN).map(noteText).join(', ')
  if (shown === '') return 'children changed'
  return more > 0 ? `${shown} and ${count(more, 'more change')}` : shown
}

function noteText(note: TreeNote): string {
  switch (note.kind) {
    case 'owned':
      return `node ${note.node} took over`
    case 'act':
      return `${note.verb} by ${note.by}${note.why === null ? '' : ` (${note.why})`}`
    case 'up':
    case 'down':
      return `${note.kind}${note.reason === null ? '' : ` (${note.reason})`}`
    case 'gave-up':
      return `gave up over ${note.child}`
    case 'restarting':
      return `restarting ${note.child}${note.counted ? ', which counts' : ''}`
    case 'started':
    case 'restarted':
    case 'exited':
    case 'terminated':
    case 'deleted':
    case 'moved':
    case 'halted':
      return `${note.kind} ${note.child}${note.reason === null ? '' : ` (${note.reason})`}`
    default:
      return note satisfies never
  }
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
