/**
 * The ledgers of one node: every supervisor and pool of its tree has one (PROTOCOL F4).
 *
 * - Rows are claimed before the tree starts, in one batch, so that a start costs one round trip and finds its history.
 * - What recovery finds goes to the ledger. A row of a supervisor that this code does not build is laid to rest: nobody
 *   has to find it again every second, and whoever builds it claims it.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import type { Process } from '../kernel/process.ts'
import type { TreeChange, TreeHistory } from '../kernel/tree-change.ts'
import type { Claim, Pid } from '../store/store.ts'
import { Ledger, type LedgerPorts } from './ledger.ts'

/** Of what is not read: the largest that a column holds. */
const ANY_VERSION = 2_147_483_647

export type TreeBookPorts = LedgerPorts & {
  /** Gives a claim back that no ledger keeps. */
  giveUp(id: ProcessId, process: Pid, claim: Claim): Promise<void>
}

export class TreeBook {
  readonly #ports: TreeBookPorts
  readonly #ledgers = new Map<ProcessId, Ledger>()

  constructor(ports: TreeBookPorts) {
    this.#ports = ports
  }

  /** Claims the rows of a tree before it starts. @throws STORE_UNAVAILABLE */
  async open(places: readonly { id: ProcessId; parent: ProcessId | null }[]): Promise<void> {
    await Promise.all(places.map((place) => this.#ledger(place.id, place.parent).ask()))
  }

  history(process: Process): TreeHistory | null {
    return this.#ledger(process.id, process.parent?.id ?? null).history(process)
  }

  changed(process: Process, change: TreeChange): void {
    this.#ledger(process.id, process.parent?.id ?? null).changed(process, change)
  }

  /** Whether an operator stopped it in an earlier life of the node. */
  stopped(id: ProcessId): boolean {
    return this.#ledgers.get(id)?.stopped === true
  }

  /** A verb of an operator on a supervisor or pool. */
  act(id: ProcessId, verb: string, { actor, reason }: { actor: string; reason?: string }): void {
    this.#ledgers.get(id)?.act(verb, actor, reason ?? null)
  }

  /** The row has no live owner. Never throws. */
  async recover(id: ProcessId): Promise<void> {
    const ledger = this.#ledgers.get(id)
    try {
      if (ledger === undefined) await this.#rest(id)
      else await ledger.ask()
    } catch (error) {
      this.#ports.failed(`taking over the row of ${id}`, error)
    }
  }

  async #rest(id: ProcessId): Promise<void> {
    const at = id.indexOf('/')
    const activated = await this.#ports.activator.activate({
      ...{ id, agent: id.slice(0, at), key: id.slice(at + 1), kind: 'supervisor', parent: null },
      ...{ stateVersion: ANY_VERSION, create: false, recreate: false },
    })
    if (activated.kind !== 'loaded') return
    await this.#ports.giveUp(id, activated.outcome.record.pid, activated.outcome.claim)
  }

  /** The node's epoch is over: all are followers until recovery hands them their rows again. */
  fence(): void {
    for (const ledger of this.#ledgers.values()) ledger.fence()
  }

  /** The stored value of a supervisor whose row this node owns. */
  committed(id: ProcessId): { value: Value; seq: number; at: number } | undefined {
    const record = this.#ledgers.get(id)?.record ?? null
    return record === null ? undefined : { value: record.acked, seq: record.ackedSeq, at: record.ackedAt }
  }

  count(): { supervisors: number; owned: number } {
    const ledgers = [...this.#ledgers.values()]
    return { supervisors: ledgers.length, owned: ledgers.filter((ledger) => ledger.record !== null).length }
  }

  #ledger(id: ProcessId, parent: ProcessId | null): Ledger {
    let ledger = this.#ledgers.get(id)
    if (ledger === undefined) {
      ledger = new Ledger(this.#ports, { id, parent })
      this.#ledgers.set(id, ledger)
    }
    return ledger
  }
}
