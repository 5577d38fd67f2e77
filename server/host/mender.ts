/**
 * Operator verbs over time: another state, an earlier one, a message that is skipped, a turn that runs again (E).
 *
 * - They are carried out where the process runs, between its turns: a turn in hand is taken from it first, what it
 *   wrote is waited for, and nothing else begins meanwhile. So a verb sees all of the turn or nothing.
 * - Each is answered once it is stored. Nothing is ever taken out of the journal.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { encodeCopied } from '../../shared/value.ts'
import type { Act } from '../control.ts'
import { bury } from '../journal/dead-letter.ts'
import { recordOf } from '../journal/durable.ts'
import { editState, interruptTurn, landed, retryOpen, stored, unmarked } from '../journal/mend.ts'
import { rowOf } from '../journal/message.ts'
import { replaceAll } from '../journal/patch.ts'
import type { AgentEntry } from '../journal/port.ts'
import type { DurableRecord } from '../journal/record.ts'
import { upgraded } from '../journal/replayed-turn.ts'
import { keptResults } from '../journal/retried-turn.ts'
import { ACTIVATED_OP } from '../journal/turn.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { Process } from '../kernel/process.ts'
import { renew } from '../kernel/renewal.ts'
import type { RuntimeCore } from '../runtime.ts'
import { pastFold } from './past-state.ts'
import { said, type VerbTargets } from './verb-target.ts'

/** Times an edit waits for what is on its way before it says that the process does not come to rest. */
const TRIES_MAX = 100

type Mended = { process: Process; outcome: string }

export class Mender {
  readonly #core: RuntimeCore
  readonly #targets: VerbTargets

  constructor(core: RuntimeCore, targets: VerbTargets) {
    this.#core = core
    this.#targets = targets
  }

  /** @throws VERSION_CONFLICT TURN_OPEN VALUE_UNSUPPORTED and those of `#record` */
  async edit(id: ProcessId, { value, expectedVersion }: Edit, act: Act): Promise<Mended> {
    const patches = replaceAll(value) // a value that cannot be stored is refused before anybody is woken for it
    const record = await this.#record(id, act)
    return this.#set(record, { patches, to: null, expectedVersion }, act)
  }

  /** @throws VERSION_NOT_KEPT and as `edit` */
  async rewind(id: ProcessId, { version, expectedVersion }: Rewind, act: Act): Promise<Mended> {
    const { state, stateVersion } = await pastFold(this.#core, id, version)
    const record = await this.#record(id, act)
    const patches = replaceAll(upgraded(this.#entry(record), state ?? null, stateVersion))
    return this.#set(record, { patches, to: version, expectedVersion }, act)
  }

  async #set(record: DurableRecord, { patches, to, expectedVersion }: Change, act: Act): Promise<Mended> {
    const { ports } = this.#core.layer
    let same = expectedVersion
    for (let tries = 0; ; tries++) {
      assertFree(record)
      const { ackedSeq } = record
      const known = expectedVersion === undefined || ackedSeq === expectedVersion || ackedSeq === same
      if (known && !record.pending) break
      if (tries === TRIES_MAX) throw turnOpen(record.id, 'does not come to rest')
      if (known) await landed(record)
      else if (await this.#sameValue(record, expectedVersion)) same = ackedSeq
      else throw versionConflict(record, expectedVersion)
    }
    const { process } = record
    // With nothing on its way, this is the sequence of its row.
    const begins = to === null ? {} : { branch: record.seq + 1 }
    const entry = { k: 'edited' as const, to, ...begins, patches, ...said(act) }
    const version = await editState(ports, record, entry)
    ports.crash.hit('mend:stored')
    return { process, outcome: `version ${version}` }
  }

  /** Versions count rows; one that a row without a change of the state came after is still the newest state. */
  async #sameValue(record: DurableRecord, version: number): Promise<boolean> {
    const { id, ackedSeq, acked } = record
    if (version > ackedSeq) return false
    const { state } = await pastFold(this.#core, id, version)
    return encodeCopied(state ?? null) === encodeCopied(acked)
  }

  /** The message in hand, the one that is tried again, or a waiting one. @throws NOT_FOUND and those of `#record` */
  async skip(id: ProcessId, messageId: string | undefined, act: Act): Promise<Mended> {
    const record = await this.#record(id, act)
    const { process } = record
    const { ports } = this.#core.layer
    const envelope = this.#atHand(record, messageId) ?? waiting(process, messageId)
    if (envelope === null) throw noMessage(id, messageId)
    const isFirst = envelope === process.current || envelope.messageId === record.open?.turn
    const release = isFirst ? await this.#take(record, envelope, 'skipped by an operator') : null
    try {
      if (process.mailbox?.take((item) => item === envelope) === undefined) throw noMessage(id, messageId)
      const why = act.reason === undefined ? '' : `: ${act.reason}`
      bury(ports, record, envelope, `skipped by ${act.actor}${why}`)
      await stored(ports, record, isFirst ? unmarked(record) : {})
      ports.crash.hit('mend:stored')
    } finally {
      release?.()
    }
    return { process, outcome: 'skipped' }
  }

  /** The open turn from its start or from result `step` on; a message that is tried again begins anew.
   *  @throws TURN_NOT_OPEN REQUEST_INVALID and those of `#record` */
  async retry(id: ProcessId, { step, turn }: Retry, act: Act): Promise<Mended> {
    const record = await this.#record(id, act)
    const { process } = record
    const envelope = this.#atHand(record, turn)
    if (envelope === null) throw notOpen(id, turn)
    if (record.open !== null) keptResults(id, record.open, step ?? null) // refused before anything is taken from it
    const release = await this.#take(record, envelope, 'begun again by an operator')
    let outcome: string
    try {
      outcome = await this.#again(record, envelope, step ?? null, act)
    } finally {
      release()
    }
    if (process.status === 'restarting') await renew(this.#core.kernel, process)
    return { process, outcome }
  }

  async #again(record: DurableRecord, envelope: Envelope, step: number | null, act: Act): Promise<string> {
    const { ports } = this.#core.layer
    const { open, process, id } = record
    if (process.mailbox?.find((item) => item === envelope) == null) throw notOpen(id, undefined)
    if (open === null) {
      if (step !== null && step > 1) throw notOpen(id, undefined)
      envelope.attempts = 0
      const row = rowOf(envelope)
      if (row !== null) {
        await stored(ports, record, { attempted: [{ ref: { target: row.target, ord: row.ord }, attempts: 0 }] })
      }
      return 'begins anew'
    }
    const kept = keptResults(id, open, step)
    await retryOpen(ports, record, open, { kept, ...said(act) })
    ports.crash.hit('mend:stored')
    return kept === 0 ? 'begins anew' : `goes on from result ${kept + 1}`
  }

  /** What the process is at: the message in hand, the open turn, or what is tried again. */
  #atHand(record: DurableRecord, messageId: string | undefined): Envelope | null {
    const { process, open } = record
    const first = process.mailbox?.peek(0, 1)[0] ?? null
    const tried = first !== null && first.attempts > 0 ? first : null
    const found = process.current ?? open?.envelope ?? tried
    if (found === null || found.op === ACTIVATED_OP) return null
    return messageId === undefined || found.messageId === messageId ? found : null
  }

  /** Makes sure that the message is in the mailbox and no turn runs; until `release` none begins.
   *  @throws TURN_OPEN  another verb, or the end of the process, is at it */
  async #take(record: DurableRecord, envelope: Envelope, why: string): Promise<() => void> {
    const { process } = record
    const { ports } = this.#core.layer
    if (process.current === null) {
      if (process.busy) throw turnOpen(record.id, 'has another verb, or its end, under way')
      // Nothing of it runs: it is suspended, or waits for its next attempt.
      return () => this.#core.kernel.lifecycle.ready(process)
    }
    if (process.current !== envelope) throw notOpen(record.id, undefined)
    if (record.turn === null && record.roomFor === null && process.status !== 'diverged') {
      throw notOpen(record.id, undefined) // it has just ended
    }
    const held = interruptTurn(ports, record, why)
    await landed(record)
    ports.crash.hit('mend:taken')
    if (held.holds() && recordOf(process) === record && !record.fenced) return () => held.release()
    held.release()
    throw new RuntimeError('INCARNATION_GONE', `${record.id} ended while its turn was taken from it.`)
  }

  /** @throws PROCESS_NOT_FOUND PROCESS_EXITED INCARNATION_GONE FENCED REQUEST_INVALID */
  async #record(id: ProcessId, act: Act): Promise<DurableRecord> {
    const process = await this.#targets.present(id, act)
    const record = recordOf(process)
    if (record !== null) return record
    const what = process.kind === 'agent' ? 'is ephemeral' : `is a ${process.kind}`
    throw new RuntimeError('REQUEST_INVALID', `${id} ${what}: it keeps no journal that could be mended.`)
  }

  #entry(record: DurableRecord): AgentEntry {
    const entry = this.#core.layer.ports.agent(record.process.agent ?? '')
    if (entry !== null) return entry
    throw new RuntimeError('INTERNAL', `${record.id} runs without its agent.`)
  }
}

export type Edit = { value: unknown; expectedVersion: number }
export type Rewind = { version: number; expectedVersion?: number }
export type Retry = { step?: number; turn?: string }

type Change = { patches: ReturnType<typeof replaceAll>; to: number | null; expectedVersion: number | undefined }

function waiting({ mailbox }: Process, messageId: string | undefined): Envelope | null {
  if (messageId === undefined) return null
  return mailbox?.find((item) => item.messageId === messageId) ?? null
}

/** E2. @throws TURN_OPEN */
function assertFree({ id, process, open }: DurableRecord): void {
  if (process.current !== null) throw turnOpen(id, `has "${process.current.op}" in hand`)
  if (open !== null) throw turnOpen(id, `has a turn "${open.op}" that is not over`)
  if (process.busy) throw turnOpen(id, 'has another verb, or its end, under way')
}

function turnOpen(id: ProcessId, what: string): RuntimeError {
  const text = `${id} ${what}. Its state can be changed between two turns only.`
  return new RuntimeError('TURN_OPEN', text, { detail: { id } })
}

function versionConflict({ id, ackedSeq }: DurableRecord, expected: number): RuntimeError {
  const text = `The state of ${id} is version ${ackedSeq} now; the action was meant for version ${expected}.`
  return new RuntimeError('VERSION_CONFLICT', text, { detail: { id, version: ackedSeq } })
}

function noMessage(id: ProcessId, messageId: string | undefined): RuntimeError {
  const text =
    messageId === undefined
      ? `${id} has no message in hand and none that is tried again. Name the one to skip.`
      : `No message ${messageId} is in hand or in the mailbox of ${id}; it may be done.`
  return new RuntimeError('NOT_FOUND', text)
}

function notOpen(id: ProcessId, turn: string | undefined): RuntimeError {
  const text = turn === undefined ? `${id} has no open turn.` : `The turn ${turn} of ${id} is not open.`
  return new RuntimeError('TURN_NOT_OPEN', text, { detail: { id } })
}
