/**
 * Queries: pure reads of the committed value. They never wait for a turn, never wake a process, and work on busy,
 * suspended, crashed and passive ones alike.
 */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, splitId } from '../../shared/id.ts'
import { copy, type Value } from '../../shared/value.ts'
import { handOver } from '../journal/bytes.ts'
import { fold } from '../journal/fold.ts'
import type { DurableLayer } from '../journal/layer.ts'
import type { AgentEntry } from '../journal/port.ts'
import type { EphemeralBehaviour } from '../kernel/ephemeral.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Archive } from '../store/archive.ts'

export type CommittedState = { value: Value; seq: number; at: number }

type QueryPorts = {
  kernel: Kernel
  layer: DurableLayer
  archive: Archive
  namespace: string
  agent(name: string): AgentEntry | null
  ephemeral(name: string): EphemeralBehaviour | null
}

export class QueryReader {
  readonly #ports: QueryPorts

  constructor(ports: QueryPorts) {
    this.#ports = ports
  }

  /** @throws PROCESS_NOT_FOUND OPERATION_UNKNOWN */
  async query(id: ProcessId, op: string, args: Value): Promise<Value> {
    const { agent } = splitId(id)
    const entry = this.#ports.agent(agent)
    if (entry === null) throw notFound(id)
    const query = entry.code.queries.get(op)
    if (query === undefined) throw new RuntimeError('OPERATION_UNKNOWN', `Agent "${agent}" has no query "${op}".`)
    if (!entry.definition.durable) {
      const process = this.#ports.kernel.find(id)
      const behaviour = this.#ports.ephemeral(agent)
      if (process === undefined || !process.alive || behaviour === null) throw notFound(id)
      return behaviour.query(process, op, args)
    }
    const { value } = await this.committed(id)
    const result = query(handOver(value), args)
    return result === undefined ? null : copy(result)
  }

  /** The last acknowledged value of a durable process, from memory or from the store. @throws PROCESS_NOT_FOUND */
  async committed(id: ProcessId): Promise<CommittedState> {
    const here = this.#ports.layer.committed(id) ?? this.#ports.layer.book.committed(id)
    if (here !== undefined) return here
    const { archive, namespace } = this.#ports
    const record = await archive.process(namespace, id)
    if (record === null) throw notFound(id)
    const folded = fold(await archive.stateRows(record.pid))
    if (folded.state === undefined) throw notFound(id)
    return { value: folded.state, seq: folded.seq, at: folded.at }
  }
}

function notFound(id: ProcessId): RuntimeError {
  return new RuntimeError(
    'PROCESS_NOT_FOUND',
    `There is no process ${id} with a stored state. ` +
      'A query reads what is stored and starts nothing: send it a message first.',
  )
}
