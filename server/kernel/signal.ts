/**
 * Exit signals, links and monitors: what one process learns of the end of another.
 *
 * - K30-K35: receipt rules 1-6 of OTP. A link is bidirectional and at most one per pair; a monitor is one-directional,
 *   one-shot, and each call makes its own.
 * - K36: a process that dies announces itself only after its names and memberships were released (lifecycle.ts).
 * - Signals are worked off in a loop, not by recursion: a chain of ten thousand links dies without a deep stack.
 * - Messages sent before a death are in the receiver's mailbox before the exit or down message of that death.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import { type DownSignal, type Envelope, type ExitSignal, NO_LINEAGE } from './envelope.ts'
import { type ExitReason, KILLED, NOPROC } from './exit.ts'
import type { Process } from './process.ts'
import type { Monitor } from './tie.ts'

export type Sender = { id: string; incarnation: number }

type Signal = { from: Process | Sender; to: Process; epoch: number; reason: ExitReason; viaLink: boolean }

/** What signals do to processes; implemented by the lifecycle. */
export interface SignalTarget {
  die(process: Process, reason: ExitReason, viaLink: boolean): void
  requestStop(process: Process, reason: ExitReason): void
  post(process: Process, envelope: Envelope): void
  now(): number
}

export class Signals {
  readonly #target: SignalTarget
  #queue: Signal[] = []
  #draining = false
  #refs = 0

  constructor(target: SignalTarget) {
    this.#target = target
  }

  /** An exit signal of `from`, which may live elsewhere, to a local process. */
  exit(from: Process | Sender, to: Process, reason: ExitReason, viaLink: boolean): void {
    this.#queue.push({ from, to, epoch: to.epoch, reason, viaLink })
    if (this.#draining) return
    this.#draining = true
    try {
      // Grows while it is worked off: a death adds the signals of its own links.
      for (let i = 0; i < this.#queue.length; i++) this.#receive(this.#queue[i] as Signal) // i is inside
    } finally {
      this.#queue = []
      this.#draining = false
    }
  }

  #receive({ from, to, epoch, reason, viaLink }: Signal): void {
    if (!to.alive || to.epoch !== epoch) return
    // Case 1: the link was dissolved while the signal was on its way.
    if (viaLink && isLocal(from) && to.ties?.links?.delete(from) !== true) return
    if (!viaLink && reason.kind === 'kill') return this.#target.die(to, KILLED, false) // Case 2
    if (to.trapExit) {
      // A parent's exit is handled by the loop itself and never becomes a message (gen_server).
      if (viaLink && from === to.parent) return this.#target.requestStop(to, reason)
      const body: ExitSignal = { from: from.id, incarnation: from.incarnation, reason }
      return this.#target.post(to, this.#message('exit', body, from.id)) // Case 6
    }
    if (reason.kind === 'normal' && (viaLink || from !== to)) return // Case 3
    if (reason.kind === 'fenced') return // Another node goes on with the process; it did not end.
    this.#target.die(to, reason, viaLink) // Cases 4 and 5
  }

  /** @throws LINK_NO_PROCESS  the other process is not alive and `process` does not trap exits */
  link(process: Process, other: Process): void {
    if (process === other) return
    if (other.alive) {
      const tie = process.tie()
      tie.links ??= new Set()
      tie.links.add(other)
      const otherTie = other.tie()
      otherTie.links ??= new Set()
      otherTie.links.add(process)
      return
    }
    this.linkDead(process, other)
  }

  /** The outcome of linking to what does not exist. */
  linkDead(process: Process, other: Sender): void {
    if (process.trapExit) {
      const body: ExitSignal = { from: other.id, incarnation: other.incarnation, reason: NOPROC }
      this.#target.post(process, this.#message('exit', body, other.id))
      return
    }
    throw new RuntimeError('LINK_NO_PROCESS', `${process.id} cannot link to ${other.id}, which is not alive.`)
  }

  unlink(process: Process, other: Process): void {
    process.ties?.links?.delete(other)
    other.ties?.links?.delete(process)
  }

  /** A dead target is answered by a down message with `noproc`. */
  monitor(watcher: Process, target: Process, ref = this.#newRef()): string {
    if (!target.alive) {
      this.#down(watcher, ref, target, NOPROC)
      return ref
    }
    const monitor: Monitor<Process> = { ref, watcher, target }
    const tie = watcher.tie()
    tie.monitors ??= new Map()
    tie.monitors.set(ref, monitor)
    const targetTie = target.tie()
    targetTie.monitoredBy ??= new Set()
    targetTie.monitoredBy.add(monitor)
    return ref
  }

  /** A monitor of an id that is not in memory here. */
  monitorMissing(watcher: Process, id: string, ref = this.#newRef()): string {
    this.#down(watcher, ref, { id, incarnation: 0 }, NOPROC)
    return ref
  }

  /** True when the monitor was still active. With `flush` a down message already queued is removed as well. */
  demonitor(watcher: Process, ref: string, flush: boolean): boolean {
    const monitor = watcher.ties?.monitors?.get(ref)
    if (monitor !== undefined) {
      watcher.ties?.monitors?.delete(ref)
      monitor.target.ties?.monitoredBy?.delete(monitor)
      return true
    }
    if (flush) watcher.mailbox?.take((envelope) => envelope.kind === 'down' && downRef(envelope) === ref)
    return false
  }

  /** Tells links and monitors of a death and dissolves both. */
  announce(process: Process, reason: ExitReason): void {
    const ties = process.ties
    if (ties === null) return
    if (ties.monitors !== null) {
      for (const monitor of ties.monitors.values()) monitor.target.ties?.monitoredBy?.delete(monitor)
      ties.monitors = null
    }
    const links = ties.links
    ties.links = null
    const watched = ties.monitoredBy
    ties.monitoredBy = null
    if (links !== null) for (const other of links) this.exit(process, other, reason, true)
    if (watched === null) return
    for (const monitor of watched) {
      monitor.watcher.ties?.monitors?.delete(monitor.ref)
      this.#down(monitor.watcher, monitor.ref, process, reason)
    }
  }

  #newRef(): string {
    return String(++this.#refs)
  }

  #down(watcher: Process, ref: string, process: Sender, reason: ExitReason): void {
    const body: DownSignal = { ref, process: process.id, incarnation: process.incarnation, reason }
    this.#target.post(watcher, this.#message('down', body, process.id))
  }

  #message(kind: 'exit' | 'down', body: ExitSignal | DownSignal, from: string): Envelope {
    return {
      kind,
      op: kind,
      args: body as unknown as Value, // plain data of our own making: no copy needed
      from,
      reply: null,
      lineage: NO_LINEAGE,
      at: this.#target.now(),
      deadline: null,
      attempts: 0,
      messageId: null,
      row: null,
    }
  }
}

function isLocal(sender: Process | Sender): sender is Process {
  return 'epoch' in sender
}

function downRef(envelope: Envelope): string {
  return (envelope.args as unknown as DownSignal).ref // kind `down` carries nothing else
}
