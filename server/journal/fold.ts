/**
 * From rows to a running process: the state is the latest snapshot and the patches after it; the open turn, if any,
 * is what was accepted and did not end.
 *
 * - No turn before the one in flight is ever replayed: activation costs the patches since the snapshot, whatever the
 *   age of the process.
 * - The base of the open turn is the state at its acceptance; checkpoints of that turn move the state, not the base.
 */
import { decode, type Value } from '../../shared/value.ts'
import type { Loaded } from '../store/store.ts'
import { NO_PAST } from './branch.ts'
import { decodeEntries, type Entry } from './entry.ts'
import { envelopeAgain, envelopeOf } from './message.ts'
import { applyPatches } from './patch.ts'
import type { OpenTurn } from './record.ts'
import { noteFailed, retriedTurn } from './retried-turn.ts'
import { takenAgain } from './taken.ts'

export type Folded = {
  /** undefined for a process that has stored nothing yet. */
  state: Value | undefined
  stateVersion: number
  seq: number
  at: number
  open: OpenTurn | null
  patchBytes: number
  snapshotBytes: number
}

export function foldedSnapshot(snapshot: Loaded['snapshot']): Folded {
  return {
    state: snapshot === null ? undefined : decode(snapshot.value),
    stateVersion: snapshot?.stateVersion ?? 0,
    seq: snapshot?.seq ?? 0,
    at: 0,
    open: null,
    patchBytes: 0,
    snapshotBytes: snapshot?.value.length ?? 0,
  }
}

export function fold(loaded: Pick<Loaded, 'snapshot' | 'journal'>, mailbox: Loaded['mailbox'] = []): Folded {
  const folded = foldedSnapshot(loaded.snapshot)
  for (const row of loaded.journal) {
    folded.seq = row.seq
    folded.at = row.at
    folded.stateVersion = row.stateVersion
    folded.patchBytes += row.payload.length
    for (const entry of decodeEntries(row.payload)) foldEntry(folded, entry, { mailbox, codeVersion: row.codeVersion })
  }
  return folded
}

/** What an entry needs besides itself. */
type Beside = { mailbox: Loaded['mailbox']; codeVersion: string }

export function foldEntry(folded: Folded, entry: Entry, beside: Beside): void {
  switch (entry.k) {
    case 'init':
      folded.state = entry.value
      return
    case 'accepted':
      folded.open = openTurn(entry, folded.state ?? null, beside)
      return
    case 'upgrade':
      folded.state = applyPatches(folded.state ?? null, entry.patches)
      if (folded.open !== null) {
        const { open } = folded
        folded.open = { ...open, base: entry.base ?? applyPatches(open.base, entry.patches) }
      }
      return
    case 'recovered':
      if (folded.open?.turn === entry.turn) folded.open.recoveries = entry.recoveries
      return
    case 'suspected':
      keep(folded, entry.turn, entry)
      if (folded.open?.turn === entry.turn) folded.open.alone = entry.alone
      return
    case 'tree':
    case 'edited':
      folded.state = applyPatches(folded.state ?? null, entry.patches)
      return
    case 'retried':
      if (folded.open?.turn === entry.turn) folded.open = retriedTurn(folded.open, entry)
      return
    case 'end':
      folded.state = applyPatches(folded.state ?? null, entry.patches)
      if (folded.open?.turn === entry.turn) folded.open = null
      return
    case 'received':
      keep(folded, entry.turn, entry)
      return take(folded, entry, beside.mailbox)
    case 'checkpoint':
      if (folded.open?.turn === entry.turn) for (const one of folded.open.taken?.values() ?? []) one.final = true
      folded.state = applyPatches(folded.state ?? null, entry.patches)
      keep(folded, entry.turn, entry)
      return
    case 'failed':
      if (entry.decision === 'dead' && folded.open?.turn === entry.turn) folded.open = null
      else if (entry.turn !== null) keep(folded, entry.turn, entry)
      return
    case 'step':
    case 'cancel':
    case 'child':
    case 'undo':
    case 'rollback':
    case 'rolled-back':
    case 'cancelled':
    case 'opened':
    case 'retry':
    case 'progress':
    case 'handed':
    case 'called':
    case 'refused':
    case 'due':
    case 'patched':
    case 'woke':
    case 'reply':
      keep(folded, entry.turn, entry)
      return
    case 'exit':
    case 'forked':
    case 'diverged':
      return
    default:
      return entry satisfies never
  }
}

function take(
  { open }: Folded,
  { turn, message }: Extract<Entry, { k: 'received' }>,
  mailbox: Loaded['mailbox'],
): void {
  if (message === null || open?.turn !== turn) return
  open.taken ??= new Map()
  open.taken.set(message.id, takenAgain(message, mailbox.find(({ ord }) => ord === message.ord) ?? null))
}

function keep(folded: Folded, turn: string, entry: Entry): void {
  if (folded.open === null || folded.open.turn !== turn) return
  folded.open.stored += 1
  if (entry.k !== 'failed') return void folded.open.entries.push(entry)
  noteFailed(folded.open, entry)
  folded.open.envelope.attempts = entry.attempt
}

function openTurn(entry: Extract<Entry, { k: 'accepted' }>, base: Value, { mailbox, codeVersion }: Beside): OpenTurn {
  const row = mailbox.find((message) => message.id === entry.turn)
  const envelope = row === undefined ? envelopeAgain(entry.message, entry.turn, null) : envelopeOf(row)
  const { turn, branch, at, message } = entry
  const suspicion = { recoveries: 0, alone: 0, marked: false, taken: null }
  const began = { turn, branch, past: NO_PAST, codeVersion, op: message.op }
  return { ...began, base, entries: [], stored: 1, ...suspicion, startedAt: at, envelope }
}
