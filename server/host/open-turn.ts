/**
 * The open turn of a process as operators see it: as it runs here, or as it is stored. Reading alone (O1): a parked
 * turn is folded from its rows, and no process is woken for it.
 */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processNotFound } from '../../shared/id.ts'
import type { Answerable, ProcessDetail } from '../../shared/snapshot.ts'
import { recordOf } from '../journal/durable.ts'
import type { Entry } from '../journal/entry.ts'
import { fold } from '../journal/fold.ts'
import type { DurableRecord, OpenTurn } from '../journal/record.ts'
import { resultsOf } from '../journal/replay.ts'
import { SandboxTurn } from '../journal/sandbox-turn.ts'
import { bookOf } from '../journal/step-book.ts'
import { ACTIVATED_OP } from '../journal/turn.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { Archive, ShownProcess } from '../store/archive.ts'
import type { Pid } from '../store/store.ts'

type ParkedView = Pick<ProcessDetail, 'current' | 'answerable'>

/** Parked turns that are being looked at: each is folded once per row of its journal. */
const PARKED_MAX = 100

/** Steps that wait for an outcome from outside, oldest first. */
export function stepsOutside(entries: readonly Entry[]): { key: string; token: string; since: number }[] {
  const over = new Set(resultsOf(entries).map(({ entry }) => entry.key))
  return [...bookOf(entries)].flatMap(([key, { token, began }]) =>
    token === null || over.has(key) ? [] : [{ key, token, since: began ?? 0 }],
  )
}

function stepsAnswerable(entries: readonly Entry[]): Answerable[] {
  return stepsOutside(entries).map(({ key, since }) => {
    return { key, kind: 'step', what: `step ${key.replace(/#0$/, '')}`, args: null, since }
  })
}

/** What the turn in memory waits for and an operator can give; absent when there is nothing. */
export function answerable({ turn, open, sandbox }: DurableRecord): { answerable?: Answerable[] } {
  const list =
    sandbox === null ? stepsAnswerable(open?.entries ?? []) : turn instanceof SandboxTurn ? stopsOf(turn) : []
  return list.length === 0 ? {} : { answerable: list }
}

function stopsOf({ stops }: SandboxTurn): Answerable[] {
  return [...stops.values()].map(({ key, wait }) => {
    return { key, kind: 'sandbox', what: wait.target ?? key, args: wait.progress ?? null, since: wait.since }
  })
}

/** In hand and answerable, of processes whose turn is parked. */
export class ParkedTurns {
  readonly #archive: Archive
  readonly #kept = new Map<Pid, { seq: number; view: ParkedView }>()

  constructor(archive: Archive) {
    this.#archive = archive
  }

  async view({ pid, seq, wait }: ShownProcess): Promise<ParkedView | null> {
    if (wait === null) return null
    const kept = this.#kept.get(pid)
    if (kept?.seq === seq) return kept.view
    const { open } = fold(await this.#archive.stateRows(pid))
    const view = open === null ? { current: null } : viewOf(open)
    this.#kept.delete(pid)
    this.#kept.set(pid, { seq, view })
    const oldest = this.#kept.keys().next().value
    if (this.#kept.size > PARKED_MAX && oldest !== undefined) this.#kept.delete(oldest)
    return view
  }
}

function viewOf({ op, turn, startedAt, entries, envelope }: OpenTurn): ParkedView {
  const list = stepsAnswerable(entries)
  const current = { op, from: envelope.from, since: startedAt, attempt: envelope.attempts + 1, messageId: turn }
  return list.length === 0 ? { current } : { current, answerable: list }
}

/** Null when none is open, or nothing of it is stored yet. @throws PROCESS_NOT_FOUND */
export async function openTurn(core: RuntimeCore, id: ProcessId): Promise<OpenTurn | null> {
  const live = core.kernel.find(id)
  const record = live === undefined ? null : recordOf(live)
  if (record !== null) return record.open
  const { archive } = core.backend.handle
  const stored = await archive.process(core.namespace, id)
  if (stored === null && live === undefined) throw processNotFound(id)
  return stored === null ? null : fold(await archive.stateRows(stored.pid)).open
}

/** Names the message in hand as a cancellation does. @throws TURN_NOT_OPEN PROCESS_NOT_FOUND */
export async function inHand(core: RuntimeCore, id: ProcessId): Promise<string> {
  const live = core.kernel.find(id)
  const turn = live === undefined ? null : (recordOf(live)?.turn ?? null)
  if (turn !== null && !turn.closed && turn.envelope.op !== ACTIVATED_OP) return turn.id
  const open = await openTurn(core, id)
  if (open !== null) return open.turn
  throw new RuntimeError('TURN_NOT_OPEN', `${id} has no operation in hand; there is nothing to cancel.`, {
    detail: { id },
  })
}
