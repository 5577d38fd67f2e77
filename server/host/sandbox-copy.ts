/**
 * The rows of a sandbox copy, made of what is stored of its original (E8).
 *
 * - Of a state: one row, with who made the copy and the state.
 * - Of an open turn: the snapshot and all rows after it, and one more by which the turn begins again behind all its
 *   results, in a branch of its own (T4). What had begun and has no result is begun by nobody again.
 * - Whoever waits for an answer of the original hears nothing of the copy: addresses of answers are left out.
 */
import { type ProcessId, processId, splitId } from '../../shared/id.ts'
import type { ProcessBody } from '../../shared/process-file.ts'
import type { Value } from '../../shared/value.ts'
import { BLOB_CHARS_MIN, detachEntries, detachValue } from '../journal/detach.ts'
import { decodeEntries, type Entry, encodeEntries } from '../journal/entry.ts'
import { fold } from '../journal/fold.ts'
import type { OpenTurn } from '../journal/record.ts'
import { resultsOf } from '../journal/replay.ts'
import { keptResults } from '../journal/retried-turn.ts'
import type { ShownProcess } from '../store/archive.ts'
import type { JournalRow, Loaded, MessageRow } from '../store/store.ts'

/** Of the rows written here. */
const FORMAT = 1

type Rows = Pick<Loaded, 'snapshot' | 'journal'>

export type Copy = {
  readonly of: ShownProcess
  readonly by: { readonly by: string; readonly why: string | null }
  readonly at: number
  readonly codeVersion: string
}

export type CopiedState = {
  readonly kind: 'state'
  /** Null for a state that was given. */
  readonly version: number | null
  /** undefined: the process has stored none yet. */
  readonly state: Value | undefined
  readonly stateVersion: number
  /** The message that is tried again, under an id of its own. */
  readonly tried: MessageRow | null
}

export type CopiedTurn = { readonly kind: 'turn'; readonly rows: Rows; readonly open: OpenTurn; readonly kept: number }

/** The newest state. */
export function stateSource(rows: Rows, code: number): Omit<CopiedState, 'tried'> {
  const { state, stateVersion, seq } = fold(rows)
  return { kind: 'state', version: seq, state, stateVersion: state === undefined ? code : stateVersion }
}

/** The open turn; null without one. @throws REQUEST_INVALID  it rolls back */
export function turnSource(id: ProcessId, rows: Rows): CopiedTurn | null {
  const { open } = fold(rows)
  if (open === null) return null
  const kept = keptResults(id, open, resultsOf(open.entries).length + 1)
  return { kind: 'turn', rows, open, kept }
}

export function copyOfState(about: Copy, { version, state, stateVersion, tried }: CopiedState): ProcessBody {
  const { of, by } = about
  const entries: Entry[] = [{ k: 'forked', of: of.id, version, turn: null, ...by }]
  if (state !== undefined) entries.push({ k: 'init', value: state })
  const body = new Body(about, { stateVersion, branch: 1 })
  body.add(entries, { seq: 1, stateVersion, turnIds: [] })
  if (tried !== null && TRIED.has(tried.kind)) body.deliver(tried)
  return body.whole
}

/** Signals are of ties, and a copy has none. */
const TRIED: ReadonlySet<MessageRow['kind']> = new Set<MessageRow['kind']>(['call', 'send', 'timer', 'topic'])

export function copyOfTurn(about: Copy, { rows, open, kept }: CopiedTurn): ProcessBody {
  const { of, by } = about
  const { turn, branch } = open
  const last = rows.journal.at(-1)
  const stateVersion = last?.stateVersion ?? of.stateVersion
  const seq = last?.seq ?? 0
  const body = new Body(about, { stateVersion, branch: seq + 1 })
  if (rows.snapshot !== null) body.snapshot(rows.snapshot)
  for (const row of rows.journal) body.add(withoutAddresses(decodeEntries(row.payload)), rowHead(row))
  const forked = { k: 'forked' as const, of: of.id, version: seq, turn, ...by }
  const retried = { k: 'retried' as const, turn, branch: branch + 1, kept, ...by }
  body.add([forked, retried], { seq: seq + 1, stateVersion, turnIds: [turn] })
  return body.whole
}

type BodyRow = ProcessBody['journal'][number]
type RowMeta = Pick<BodyRow, 'codeVersion' | 'cause' | 'root' | 'traceparent' | 'actor' | 'at'>
type RowHead = Pick<BodyRow, 'seq' | 'stateVersion'> & { readonly turnIds: readonly string[] } & Partial<RowMeta>

function rowHead({ claim: _claim, payload: _payload, ...head }: JournalRow): RowHead {
  return head
}

/** A body that grows row by row, its large values apart (V4). */
class Body {
  readonly whole: ProcessBody
  readonly #about: Copy

  /** @param first  what its row says; the branch of its later turns is the sequence of the row that makes it a copy */
  constructor(about: Copy, first: { stateVersion: number; branch: number }) {
    const { id, agent } = about.of
    const parent = processId('pool', agent)
    this.#about = about
    this.whole = {
      process: {
        ...{ id, agent, key: splitId(id).key, parent, incarnation: 1, restarts: 0, desired: 'running' },
        ...{ diverged: false, trapExit: about.of.trapExit, gone: false, ended: false, exit: null },
        ...{ createdAt: about.at, sandbox: id, ...first },
      },
      seq: 0,
      snapshot: null,
      ...{ waypoints: [], journal: [], mailbox: [], timers: [], refs: [], blobs: [] },
    }
  }

  add(entries: readonly Entry[], { seq, stateVersion, turnIds, ...meta }: RowHead): void {
    const { by, at, codeVersion } = this.#about
    const own: RowMeta = { codeVersion, cause: null, root: null, traceparent: null, actor: by.by, at }
    const payload = encodeEntries(entries)
    const { text, blobs } = payload.length > BLOB_CHARS_MIN ? detachEntries(payload) : { text: payload, blobs: [] }
    const row = { seq, format: FORMAT, stateVersion, turnIds: [...turnIds], payload: text }
    this.whole.journal.push({ ...own, ...meta, ...row })
    this.#refer(blobs, { seq, snapshot: false })
    this.whole.seq = seq
  }

  snapshot({ seq, stateVersion, value }: NonNullable<Loaded['snapshot']>): void {
    const { text, blobs } = detachValue(value)
    this.whole.snapshot = { seq, stateVersion, value: text, at: this.#about.at }
    this.#refer(blobs, { seq, snapshot: true })
    this.whole.seq = seq
  }

  deliver({ target: _target, ord: _ord, chain, ...row }: MessageRow): void {
    const fresh = { replyTo: null, deadline: null, attempts: 0, recoveries: 0 }
    this.whole.mailbox.push({ ...row, chain: [...chain], ...fresh })
  }

  #refer(blobs: readonly { hash: string; value: string }[], at: { seq: number; snapshot: boolean }): void {
    for (const blob of blobs) {
      this.whole.refs.push({ ...at, hash: blob.hash })
      if (!this.whole.blobs.some(({ hash }) => hash === blob.hash)) this.whole.blobs.push(blob)
    }
  }
}

function withoutAddresses(entries: Entry[]): Entry[] {
  return entries.map((entry) =>
    entry.k === 'received' && entry.message !== null
      ? { ...entry, message: { ...entry.message, replyTo: null } }
      : entry,
  )
}
