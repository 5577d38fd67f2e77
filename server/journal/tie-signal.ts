/**
 * `exit` and `down` messages of durable processes: what OTP's receipt rules make of them (SPEC K30 to K39, P3).
 *
 * - One that came as a row names the life of the receiver it is for; a later life has no such tie and drops it.
 * - An exit signal to a process that does not trap ends it: at once where it runs, at its turn where it is loaded. The
 *   row goes with the commit that stores the exit, so the signal is neither lost nor felt twice.
 * - What a signal in memory tells of a tie that has a row, the commit of its turn takes out of the store.
 */
import { decode, type Value } from '../../shared/value.ts'
import { type DownSignal, type Envelope, type ExitSignal, NO_LINEAGE } from '../kernel/envelope.ts'
import { type ExitReason, NOPROC } from '../kernel/exit.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { ANY_LIFE, type LinkChange, type MessageRef } from '../store/store.ts'
import { rowOf } from './message.ts'
import type { DurableRecord } from './record.ts'
import { linkKey, monitorKey, type Tie } from './tie-book.ts'

/** An exit signal that came while the process was being loaded: judged at its turn, when `activated` had its say. */
const UNJUDGED_OP = '$exit'

export type Verdict = 'handle' | 'drop' | 'end'

export function judge(record: DurableRecord, envelope: Envelope): Verdict {
  const row = rowOf(envelope)
  const { process, ties } = record
  if (row !== null) ties?.forget(keyOf(envelope))
  if (row !== null && !isFor(row.args, process.incarnation)) return 'drop'
  if (envelope.kind === 'down') return ties?.isCut(keyOf(envelope), envelope.at) === true ? 'drop' : 'handle'
  if (ties?.isCut(keyOf(envelope), envelope.at) === true) return 'drop'
  // What the kernel put here was trapped when it came.
  if (process.trapExit || (row === null && envelope.op !== UNJUDGED_OP)) return 'handle'
  const { kind } = reasonOf(envelope)
  return kind === 'normal' || kind === 'fenced' ? 'drop' : 'end'
}

/** Ends the process by an exit signal. The message in hand waits for the next life, unless it is the signal itself. */
export function endBySignal(kernel: Kernel, record: DurableRecord, envelope: Envelope): void {
  const { process } = record
  const row = rowOf(envelope)
  if (row !== null) record.endedBy = { target: row.target, ord: row.ord }
  kernel.lifecycle.die(process, reasonOf(envelope), process.current === envelope ? 'leave' : 'free')
}

/** P6: takes the signal that came while the process was away from its open turn. The turn would end by it if it ran,
 *  and may wait for days where it stands. */
export function takeEnding(record: DurableRecord): Envelope | null {
  const { mailbox } = record.process
  return mailbox?.take((item) => item.kind === 'exit' && judge(record, item) === 'end') ?? null
}

/** Signals of the life that ends: taken out of its mailbox. Returns their rows, with that of the one that ended it.
 *  What is for any life waits for the next one, where one follows. */
export function takeSignals(record: DurableRecord, restarts: boolean): MessageRef[] {
  const refs: MessageRef[] = record.endedBy === null ? [] : [record.endedBy]
  record.endedBy = null
  const { mailbox } = record.process
  for (;;) {
    const envelope = mailbox?.take((item) => isSignal(item) && !(restarts && isForAny(item)))
    if (envelope === undefined) return refs
    const row = rowOf(envelope)
    if (row !== null) refs.push({ target: row.target, ord: row.ord })
  }
}

function isSignal({ kind }: Envelope): boolean {
  return kind === 'exit' || kind === 'down'
}

function isForAny(envelope: Envelope): boolean {
  const row = rowOf(envelope)
  return row !== null && lifeOf(row.args) === ANY_LIFE
}

/** The tie a message in memory tells the end of, where it has a row; null for any other message. */
export function heardOf(record: DurableRecord, envelope: Envelope): LinkChange | null {
  if (record.ties === null || rowOf(envelope) !== null) return null
  if (envelope.kind !== 'exit' && envelope.kind !== 'down') return null
  if (!record.ties.has(keyOf(envelope))) return null
  if (envelope.kind === 'exit') return { kind: 'unlink', peer: bodyOf<ExitSignal>(envelope).from }
  return { kind: 'demonitor', ref: bodyOf<DownSignal>(envelope).ref }
}

/** Ties with ephemeral processes after a load: those that still live are made again in the kernel. */
export function restoreTies(kernel: Kernel, record: DurableRecord): void {
  for (const tie of record.ties?.ties() ?? []) {
    if (!tie.ephemeral) continue
    const peer = kernel.find(tie.peer)
    if (peer?.alive !== true) record.process.box().push(gone(tie, kernel.ports.clock.now()))
    else if (tie.kind === 'link') kernel.link(record.process, peer)
    else kernel.monitor(record.process, peer, tie.ref)
  }
}

/** A tie with an ephemeral process takes effect when its commit is stored. */
export function tieInMemory(kernel: Kernel, process: Process, tie: Tie): void {
  if (tie.kind === 'monitor') kernel.monitor(process, tie.peer, tie.ref)
  else if (kernel.find(tie.peer)?.alive === true) kernel.link(process, tie.peer)
  else {
    const from = { id: tie.peer, incarnation: 0 }
    kernel.exitSignal({ from, to: process, reason: NOPROC, viaLink: true })
  }
}

function gone(tie: Tie, at: number): Envelope {
  const kind = tie.kind === 'link' ? 'exit' : 'down'
  const end = { incarnation: 0, reason: NOPROC }
  const body = tie.kind === 'link' ? { from: tie.peer, ...end } : { ref: tie.ref, process: tie.peer, ...end }
  const args = body as Value // `noproc` has no error in it
  return {
    ...{ kind, op: kind === 'exit' ? UNJUDGED_OP : kind, args, from: tie.peer, reply: null, lineage: NO_LINEAGE },
    ...{ at, deadline: null, attempts: 0, messageId: null, row: null },
  }
}

function keyOf(envelope: Envelope): string {
  if (envelope.kind === 'exit') return linkKey(bodyOf<ExitSignal>(envelope).from)
  return monitorKey(bodyOf<DownSignal>(envelope).ref)
}

function reasonOf(envelope: Envelope): ExitReason {
  return bodyOf<ExitSignal>(envelope).reason
}

function bodyOf<T>(envelope: Envelope): T {
  return envelope.args as unknown as T // kind and body belong together
}

function isFor(args: string, life: number): boolean {
  const to = lifeOf(args)
  return to === life || to === ANY_LIFE
}

/** `to` of the stored body; envelopes carry the body without it. */
function lifeOf(args: string): number {
  return (decode(args) as { readonly to: number }).to // written by the store's tie-signal
}
