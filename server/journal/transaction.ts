/**
 * `ctx.transaction`: a checkpoint whose commit also carries the user's SQL (PROTOCOL T2).
 *
 * - State so far, outbox so far, the callback's result and the user's rows are stored together or not at all. The row
 *   is made when the callback is done and nothing of the process is in flight; its statement is the last one of the
 *   transaction (C3), so a lost claim or epoch takes the user's rows with it.
 * - What is rolled back leaves the turn as it was: draft, outbox, received messages. The error is recorded like that of
 *   a step, so that a turn which catches it goes on the same way in a replay.
 * - Two writers that met run the callback again, a bounded number of times; a server that is away is waited for; a
 *   COMMIT whose answer got lost is read back from the head, which stays locked until the outcome is certain (F3).
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFromData, RuntimeError } from '../../shared/error.ts'
import { copy, decode, encodeCopied, type Value } from '../../shared/value.ts'
import { pause } from '../kernel/clock-port.ts'
import { type Commit, StoreFailure } from '../store/store.ts'
import type { IsolationLevel, Transacted } from '../store/transact.ts'
import { handOver } from './bytes.ts'
import { goOn } from './checkpoint.ts'
import type { Stored } from './committer.ts'
import type { Entry } from './entry.ts'
import { lives, outboxStored, rearm } from './finish.ts'
import { dataOfError, fenced } from './message.ts'
import { emptyOutbox, type Outbox } from './outbox.ts'
import { applyPatches } from './patch.ts'
import type { DurableRecord, Part, Settled } from './record.ts'
import { type Settlement, settleTaken } from './taken.ts'
import type { Turn } from './turn.ts'
import { isInStep } from './turn-step.ts'

/** Runs of one callback. Ten losers in a row with growing pauses mean that the rows are fought over, not bad luck. */
export const TRIES_MAX = 10
/** Ms before a callback runs again: first and largest wait, halved at random so that two losers do not meet again. */
const RETRY_MS_FIRST = 10
const RETRY_MS_MAX = 1_000
/** Ms of one run of the callback. It holds locks of the app: what takes longer belongs into a step before it. */
export const TRANSACTION_MS_MAX = 10_000

const ISOLATION_LEVELS: readonly string[] = ['read committed', 'repeatable read', 'serializable']

type Options = { isolationLevel?: IsolationLevel }
type Callback = (tx: unknown) => unknown
type Checkpoint = Extract<Entry, { k: 'checkpoint' }>

/** Entered while a callback runs, with everything it awaits. */
const SCOPE = new AsyncLocalStorage<Turn>()

export function isInTransaction(turn: Turn): boolean {
  return SCOPE.getStore() === turn
}

/** T14: a checkpoint beside a transaction would store what that may still take back. @throws TRANSACTION_OPEN */
export function assertNoTransaction(turn: Turn): void {
  turn.assertOpen()
  if (turn.guard !== null) throw refusedOpen(turn, 'A checkpoint began beside a transaction that is open')
}

export async function transactInTurn(turn: Turn, fn: Callback, options: Options = {}): Promise<unknown> {
  turn.assertOpen()
  const { isolationLevel = 'read committed' } = options
  if (!ISOLATION_LEVELS.includes(isolationLevel)) throw unknownLevel(isolationLevel)
  if (isInStep(turn)) throw refusedOpen(turn, 'A transaction began inside a step')
  if (turn.guard !== null) throw refusedOpen(turn, 'A second transaction began beside one that is open')
  turn.guard = () => {
    if (isInTransaction(turn)) throw refusedOpen(turn, 'A verb of ctx was used inside of a transaction')
  }
  try {
    const key = turn.key('transaction')
    const recorded = turn.checkpointed(key)
    const run = (): Promise<unknown> => new TransactionRun(turn, { key, fn, isolationLevel }).run()
    const result = await turn.request(key, run, 'result', true)
    if (recorded !== undefined) goOn(turn, recorded)
    return result
  } finally {
    turn.guard = null
  }
}

type Asked = { readonly key: string; readonly fn: Callback; readonly isolationLevel: IsolationLevel }
/** A row on its way, how to take it back, and what lets the results of others through again. */
type Sent = { readonly commit: Commit; readonly value: Value; undo(): void; release(): void }
type Attempt = { over: boolean; sent: Sent | null }

class TransactionRun {
  readonly #turn: Turn
  readonly #asked: Asked

  constructor(turn: Turn, asked: Asked) {
    this.#turn = turn
    this.#asked = asked
  }

  async run(): Promise<unknown> {
    const turn = this.#turn
    let wait = RETRY_MS_FIRST
    for (let tries = 1; ; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      await turn.flushed()
      turn.assertOpen()
      this.#show(tries)
      const attempt: Attempt = { over: false, sent: null }
      const outcome = await this.#settle(attempt, await this.#attempt(attempt))
      turn.process.wait = null
      switch (outcome.kind) {
        case 'committed':
          turn.assertOpen()
          return handOver(attempt.sent?.value ?? null)
        case 'away':
        case 'unknown':
          break
        case 'refused':
          throw fenced(turn.process.id)
        case 'rolled-back':
          if (!outcome.again) return this.#fail(outcome.error, tries)
          if (tries === TRIES_MAX) return this.#fail(contended(turn, outcome.error), tries)
          tries += 1
          break
        default:
          return outcome satisfies never
      }
      await this.#pause(wait)
    }
  }

  async #attempt(attempt: Attempt): Promise<Transacted> {
    const { store, node } = this.#turn.ports
    const { isolationLevel } = this.#asked
    try {
      return await store.transact(node(), (tx) => this.#work(attempt, tx), { isolationLevel })
    } catch (error) {
      if (!(error instanceof StoreFailure)) return { kind: 'rolled-back', error, again: false }
      return { kind: attempt.sent === null ? 'away' : 'unknown', error }
    } finally {
      attempt.over = true
    }
  }

  async #work(attempt: Attempt, tx: unknown): Promise<Commit> {
    const turn = this.#turn
    const { committer, crash } = turn.ports
    const value = copy((await this.#limited(() => SCOPE.run(turn, () => this.#asked.fn(tx)))) ?? null)
    await quiet(turn)
    if (attempt.over) throw fenced(turn.process.id) // the transaction is gone; nobody hears this
    turn.assertOpen()
    const sent = this.#take(value)
    attempt.sent = sent
    await committer.depart(turn.record, sent.commit)
    crash.hit('transaction:before-commit')
    return sent.commit
  }

  /** The callback, for as long as it may take and its turn goes on. */
  #limited(run: () => unknown): Promise<unknown> {
    const { ports, abort, process } = this.#turn
    return new Promise((resolve, reject) => {
      const text = `The transaction of ${process.id} took longer than ${TRANSACTION_MS_MAX} ms and was rolled back.`
      const late = (): void => reject(new RuntimeError('TRANSACTION_TIMEOUT', text))
      const timer = ports.clock.after(TRANSACTION_MS_MAX, late)
      const ended = (): void => reject(abort.signal.reason)
      abort.signal.addEventListener('abort', ended, { once: true })
      const over = (): void => {
        timer.cancel()
        abort.signal.removeEventListener('abort', ended)
      }
      new Promise((begin) => begin(run())).finally(over).then(resolve, reject)
    })
  }

  /** Makes the row: everything so far, and the result. */
  #take(value: Value): Sent {
    const turn = this.#turn
    const { record, outbox, base, ports } = turn
    const open = turn.accept()
    const patches = turn.takePatches()
    const state = applyPatches(base, patches)
    const unsettled = [...(open.taken?.values() ?? [])].filter((one) => !one.final)
    const { answers } = outbox
    const taken = settleTaken(record, open, { answers, answered: turn.answered, how: 'checkpoint' })
    const { key } = this.#asked
    const sent = outbox.messages.length
    const at = turn.stamp()
    const entry: Checkpoint = { k: 'checkpoint', turn: turn.id, key, patches, sent, result: value, at }
    const part: Part = {
      ...partOf(outbox, taken),
      ...{ entries: [entry], turn: turn.id, lineage: turn.envelope.lineage, state },
      settle: (outcome) => this.#stored(outcome, { entry, outbox, taken, state }),
    }
    turn.rebase(state)
    turn.outbox = emptyOutbox()
    const release = turn.hold()
    const undo = (): void => {
      record.giveBack(part)
      for (const one of unsettled) one.final = false
      turn.outbox = joined(outbox, turn.outbox)
      const now = turn.view
      turn.rebase(base)
      turn.state = decode(encodeCopied(copy(now))) // a whole new value: the draft is finished, and this is rare
    }
    const commit = record.takeWith(part, ports.codeVersion)
    if (commit !== null) return { commit, value, undo, release }
    undo()
    release()
    throw fenced(record.id)
  }

  #stored(
    outcome: Settled,
    { entry, outbox, taken, state }: { entry: Checkpoint; outbox: Outbox; taken: Settlement; state: Value },
  ): void {
    if (outcome.kind !== 'stored') return
    const turn = this.#turn
    const { record } = turn
    const open = turn.accept()
    // Where it stands in the journal: before what was appended while it was on its way.
    open.entries.splice(open.stored - 1, 0, entry)
    open.stored += 1
    record.live = state
    turn.trapBefore = null
    rearm(record, outbox)
    const { links } = outbox.part
    if (links !== undefined && lives(turn)) record.tie().ended(links)
    outboxStored(turn, { ...outbox, after: [...outbox.after, ...taken.release] }, outcome.at)
  }

  /** What became of the row, by the rules of the committer. */
  async #settle({ sent }: Attempt, outcome: Transacted): Promise<Transacted> {
    if (sent === null) return outcome
    const { record, ports } = this.#turn
    const { committer } = ports
    try {
      const final =
        outcome.kind === 'refused' || outcome.kind === 'unknown' ? await this.#readBack(sent, outcome) : outcome
      if (final.kind === 'committed') {
        ports.crash.hit('transaction:committed')
        committer.landed(record, sent.commit, final)
      } else if (final.kind !== 'refused') sent.undo()
      return final
    } finally {
      committer.arrived(record)
      sent.release()
    }
  }

  /** `refused` means from here on that the process is not ours any more. */
  async #readBack({ commit }: Sent, outcome: Transacted): Promise<Transacted> {
    const { record, ports } = this.#turn
    const found = await ports.committer.verdict(record, commit)
    if (found === 'stored') return { kind: 'committed', at: this.#turn.wallclock(), ords: [] } satisfies Stored
    if (found === 'fenced') return { kind: 'refused' }
    if (outcome.kind === 'unknown') return { kind: 'away', error: outcome.error }
    const error = new StoreFailure('contended', `row ${commit.seq} of ${record.id} was not accepted`)
    return { kind: 'rolled-back', error, again: true }
  }

  async #fail(error: unknown, attempts: number): Promise<never> {
    const turn = this.#turn
    const err = dataOfError(error instanceof RuntimeError ? error : failed(turn, error))
    const place = turn.place()
    if (place !== null) await place
    turn.assertOpen()
    turn.append({ k: 'step', turn: turn.id, key: this.#asked.key, out: { err }, attempts, at: turn.stamp() })
    throw errorFromData(err)
  }

  #show(attempt: number): void {
    const { process, ports } = this.#turn
    process.wait = { kind: 'commit', target: this.#asked.key, since: ports.clock.now(), deadline: null, attempt }
  }

  #pause(ms: number): Promise<void> {
    const { clock, random } = this.#turn.ports
    return pause(clock, ms * (0.5 + random.next() / 2))
  }
}

/**
 * T5: nothing of the process is on its way, and whoever was handed a result before has gone as far as it leads: as in a
 * replay, which leaves a macrotask between two results. What such code did to draft and outbox is in the row, or a
 * replay, which takes both from it, would lose it.
 */
async function quiet(turn: Turn): Promise<void> {
  for (;;) {
    while (turn.record.flying) await landing(turn.record)
    const place = turn.place()
    if (place === null) return
    await place
    if (!turn.record.flying) return
  }
}

/** Resolves when what is in flight of the process has settled, one way or another. */
function landing(record: DurableRecord): Promise<void> {
  return new Promise((resolve) => {
    record.attach({ entries: [], turn: null, lineage: null, settle: () => resolve() })
  })
}

function partOf(outbox: Outbox, taken: Settlement): Omit<Part, 'entries' | 'turn' | 'lineage' | 'settle'> {
  const { timers, cancelTimers, part } = outbox
  const { consumed, requests } = taken
  return { ...part, messages: [...outbox.messages, ...taken.messages], timers, cancelTimers, consumed, requests }
}

/** What a transaction that was rolled back would have sent, and what was sent beside it. */
function joined(first: Outbox, second: Outbox): Outbox {
  const { spawns, links, names, patch } = second.part
  const part: Outbox['part'] = { ...first.part }
  if (spawns !== undefined) part.spawns = [...(part.spawns ?? []), ...spawns]
  if (links !== undefined) part.links = [...(part.links ?? []), ...links]
  if (names !== undefined) part.names = [...(part.names ?? []), ...names]
  if (patch !== undefined) part.patch = { ...part.patch, ...patch }
  return {
    part,
    messages: [...first.messages, ...second.messages],
    timers: [
      ...first.timers.filter(({ name }) => !second.timers.some((timer) => timer.name === name)),
      ...second.timers,
    ],
    cancelTimers: [...first.cancelTimers, ...second.cancelTimers],
    answers: second.answers === null ? first.answers : new Map([...(first.answers ?? []), ...second.answers]),
    after: [...first.after, ...second.after],
  }
}

function refusedOpen({ process, envelope }: Turn, what: string): RuntimeError {
  return new RuntimeError(
    'TRANSACTION_OPEN',
    `${what}, in the turn "${envelope.op}" of ${process.id}. Inside of ctx.transaction use tx alone, ` +
      'do everything else before or after it, and await it before the next one.',
  )
}

function unknownLevel(level: string): RuntimeError {
  const text = `isolationLevel of ctx.transaction is "${level}"; give one of ${ISOLATION_LEVELS.join(', ')}.`
  return new RuntimeError('REQUEST_INVALID', text)
}

function contended({ process }: Turn, cause: unknown): RuntimeError {
  const text = `The transaction of ${process.id} met other writers ${TRIES_MAX} times and was rolled back each time.`
  return new RuntimeError('TRANSACTION_CONTENDED', text, { cause })
}

function failed({ process }: Turn, cause: unknown): RuntimeError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new RuntimeError('TRANSACTION_FAILED', `The transaction of ${process.id} was rolled back: ${why}`, { cause })
}
