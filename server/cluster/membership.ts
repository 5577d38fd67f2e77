/**
 * This node's place among the others: its lease, and the proof that another one is dead.
 *
 * - F2: the lease is renewed by compare-and-set on the epoch, by the store's clock. Losing it ends the epoch here.
 * - N9: whoever acts outside the store asks first whether the lease still holds by this machine's own clock, which says
 *   no before others may: a node that was frozen learns that its work is another's before it does it again.
 * - F6: death is proven by the gone OS process on this machine, or by a lost session, or by a lease that expired while
 *   this node itself was connected for a whole lease; so an outage of the database starts no stampede.
 */
import type { Emit } from '../../shared/event.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { NodeIdentity, NodeRow, Store } from '../store/store.ts'
import { type HostIdentity, isGone } from './host-identity.ts'

/** Ms. Long enough for a stalled event loop or a failover of the database, short enough for operators. */
export const LEASE_MS = 20_000
/** A lease is renewed three times before it ends. */
const RENEW_MS = LEASE_MS / 4

type MembershipPorts = {
  store: Store
  clock: Clock
  emit: Emit
  node(): NodeIdentity
  self: HostIdentity
  /** True when the other node's session on the database is gone; null when that cannot be asked. */
  sessionGone(node: NodeRow): Promise<boolean | null>
  lost(): void
  /** Other nodes came or went: one that went may have owed hints, even if it came and went between two looks. */
  nodesChanged(): void
  failed(what: string, error: unknown): void
}

export class Membership {
  readonly #ports: MembershipPorts
  #timer: Timer | null = null
  #connectedSince: number | null = null
  #closed = false
  /** Epoch ms at which the lease was last renewed or taken. */
  renewedAt = 0
  /** Monotonic ms until which the lease holds at least. */
  #until = 0
  #renewed: PromiseWithResolvers<void> | null = null
  /** Epochs that lived at the last look. */
  #alive = new Set<number>()

  constructor(ports: MembershipPorts) {
    this.#ports = ports
  }

  start(): void {
    this.#connectedSince = this.#ports.clock.monotonic()
    this.renewedAt = this.#ports.clock.now()
    // It was taken a moment ago; how long ago is not known here, but not as long as to the first renewal.
    this.#until = this.#ports.clock.monotonic() + LEASE_MS - RENEW_MS
    this.#arm()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#renewed?.resolve()
  }

  /** Null while the lease holds; else resolves when it holds again, or when this epoch is over here too. */
  held(): Promise<void> | null {
    if (this.#closed || this.#ports.clock.monotonic() < this.#until) return null
    this.#renewed ??= Promise.withResolvers<void>()
    return this.#renewed.promise
  }

  #arm(ms = RENEW_MS): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(ms, () => void this.#renew())
    this.#timer.keepAlive(false)
  }

  async #renew(): Promise<void> {
    // From before it is asked for: the store counts from later.
    const from = this.#ports.clock.monotonic()
    try {
      const kept = await this.#ports.store.renewLease(this.#ports.node(), LEASE_MS)
      if (this.#closed) return
      if (!kept) return this.#ports.lost()
      this.renewedAt = this.#ports.clock.now()
      this.#connectedSince ??= this.#ports.clock.monotonic()
      this.#until = from + LEASE_MS
      // An answer from before a freeze says nothing about now.
      if (this.#ports.clock.monotonic() >= this.#until) return this.#arm(0)
      this.#renewed?.resolve()
      this.#renewed = null
    } catch (error) {
      this.#connectedSince = null
      this.#ports.failed('renewing the lease', error)
    }
    this.#arm()
  }

  /** Buries every node that is provably dead. Returns how many. */
  async buryTheDead(now: number): Promise<number> {
    const { store, node, emit, clock } = this.#ports
    const self = node()
    let buried = 0
    const alive = new Set<number>()
    for (const row of await store.nodes(self.namespace)) {
      if (row.stoppedAt === null) alive.add(row.epoch)
      if (row.stoppedAt !== null || (row.id === self.id && row.epoch === self.epoch)) continue
      const proof = await this.#proof(row, now)
      if (proof === null || !(await store.buryNode(self, row, proof))) continue
      buried += 1
      alive.delete(row.epoch)
      emit({ kind: 'node:leave', at: clock.now(), node: row.name, epoch: row.epoch, reason: 'dead' })
    }
    const changed = this.#alive.size !== alive.size || [...alive].some((epoch) => !this.#alive.has(epoch))
    this.#alive = alive
    if (changed || buried > 0) this.#ports.nodesChanged()
    return buried
  }

  async #proof(row: NodeRow, now: number): Promise<'host' | 'session' | 'lease' | null> {
    if (isGone(row, this.#ports.self)) return 'host'
    if ((await this.#ports.sessionGone(row)) === true) return 'session'
    const connected = this.#connectedSince
    const longEnough = connected !== null && this.#ports.clock.monotonic() - connected >= LEASE_MS
    return longEnough && row.leaseUntil < now ? 'lease' : null
  }
}
