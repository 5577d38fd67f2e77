/**
 * What the kernel tells the event bus. Nothing is built that nobody watches.
 */
import { errorData } from '../../shared/error.ts'
import type { Envelope } from './envelope.ts'
import { type ExitReason, exitText } from './exit.ts'
import type { KernelPorts } from './port.ts'
import type { Process } from './process.ts'

export class Reporter {
  readonly #ports: KernelPorts

  constructor(ports: KernelPorts) {
    this.#ports = ports
  }

  started(process: Process): void {
    if (!this.#ports.watching('process:start')) return
    const { id, incarnation, agent, kind } = process
    const parent = process.parent?.id ?? null
    const at = process.stats.startedAt
    this.#ports.emit({ kind: 'process:start', at, id, incarnation, processKind: kind, agent, parent })
  }

  exit(process: Process, reason: ExitReason, restarts: boolean): void {
    if (!this.#ports.watching('process:exit')) return
    const { id, incarnation } = process
    const error = reason.kind === 'crash' ? reason.error : null
    const at = process.stats.since
    this.#ports.emit({ kind: 'process:exit', at, id, incarnation, reason: exitText(reason), restarts, error })
  }

  /** Monotonic ms, for turnStopped. */
  turnStarted(process: Process, envelope: Envelope): number {
    const { id, incarnation } = process
    const { op, from } = envelope
    const { traceparent } = envelope.lineage
    const at = this.#ports.clock.now()
    this.#ports.emit({ kind: 'turn:start', at, id, incarnation, turn: null, op, from, traceparent })
    return this.#ports.clock.monotonic()
  }

  turnStopped(process: Process, envelope: Envelope, startedAt: number, outcome: 'done' | 'failed'): void {
    const { id, incarnation } = process
    const durationMs = this.#ports.clock.monotonic() - startedAt
    const at = this.#ports.clock.now()
    this.#ports.emit({ kind: 'turn:stop', at, id, incarnation, turn: null, op: envelope.op, durationMs, outcome })
  }

  /** An error of a layer above, where there is nobody to throw it at. */
  complain(process: Process, what: string, error: unknown): void {
    const { id, incarnation } = process
    const at = this.#ports.clock.now()
    const message = `${id}: ${what}`
    this.#ports.emit({ kind: 'log', at, id, incarnation, level: 'error', message, data: errorData(error) })
  }
}
