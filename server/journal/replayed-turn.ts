/**
 * A recorded turn run again under other code, for the sake of the answer alone: nothing of it is stored, sent or begun.
 *
 * - Requests are answered from the journal. The first one beyond it is where an open turn would go on; of a turn that
 *   had ended it is a divergence, unless the turn ends all the same (losers of a race ask and are given up).
 * - The handler itself runs for real: what it does outside its context's verbs happens.
 */
import type { Divergence } from '../../shared/divergence.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { Process } from '../kernel/process.ts'
import { handOver } from './bytes.ts'
import { endedWith } from './cancellation.ts'
import { DurableContext } from './context.ts'
import type { Asked } from './divergence.ts'
import type { EndKind, Shape } from './entry.ts'
import { END_WORDS } from './finish.ts'
import { handlerOf } from './handler.ts'
import { applyPatches } from './patch.ts'
import type { AgentEntry, DurablePorts } from './port.ts'
import { DurableRecord } from './record.ts'
import type { RecordedTurn } from './recorded-turn.ts'
import { STALL_MS } from './replay.ts'
import { SilentStreams } from './silent-stream.ts'
import { Turn } from './turn.ts'
import { upgradeState } from './upgrade.ts'

/** Ms a replayed turn may take: everything it waits for is there, what is slow is its own. */
const TURN_MS_MAX = 30_000

export type ReplayEnd =
  | { kind: 'ended'; how: EndKind; sent: number; state: Value }
  /** Everything recorded was handed over, and the code asks for more. */
  | { kind: 'beyond' }
  | { kind: 'diverges'; divergence: Divergence }
  | { kind: 'fails'; error: unknown }

/** What of the runtime a replayed turn reaches: time, agents by name, and a kernel in which nothing lives. */
export type ReplayPorts = Pick<
  DurablePorts,
  | 'kernel'
  | 'clock'
  | 'random'
  | 'emit'
  | 'crash'
  | 'tracing'
  | 'codeVersion'
  | 'watching'
  | 'clockOffset'
  | 'agent'
  | 'newId'
>

export class ReplayedTurn extends Turn {
  readonly #ended = Promise.withResolvers<ReplayEnd>()
  readonly #wasOpen: boolean
  #beyond: Asked[] | null = null

  constructor(ports: ReplayPorts, agent: AgentEntry, process: Process, recorded: RecordedTurn) {
    const { open, live, stateVersion, end } = recorded
    const now = (state: Value): Value => upgraded(agent, state, stateVersion)
    const record = new DurableRecord({
      ...{ id: process.id, pid: 0, claim: '' as never, process, seq: 0, state: now(live) },
      ...{ stateVersion: agent.code.version, at: 0 },
    })
    record.open = { ...open, base: now(open.base) }
    record.sandbox = recorded.sandbox
    // The verbs that would reach the others are overridden below.
    super(ports as DurablePorts, agent, process, record, open.envelope)
    this.#wasOpen = end.kind === 'open'
    this.streams = new SilentStreams(this)
  }

  override append(): void {}

  override async flushed(): Promise<void> {}

  /** Refusals that are recorded are heard again; there is no other mailbox to be full. */
  override checkSend(): void {
    super.checkSend(() => {})
  }

  override request(key: string, _live: () => Promise<unknown>, shape: Shape = 'result'): Promise<unknown> {
    return super.request(key, () => this.#goBeyond({ key, shape }), shape)
  }

  #goBeyond(asked: Asked): Promise<never> {
    if (this.#wasOpen) this.#ended.resolve({ kind: 'beyond' })
    else if (this.#beyond === null) {
      const beyond = [asked]
      this.#beyond = beyond
      this.ports.clock.after(STALL_MS, () => this.closed || this.diverge({ asked: beyond, ended: null }))
    } else this.#beyond.push(asked)
    return new Promise(() => {})
  }

  protected override diverged(divergence: Divergence): void {
    this.#ended.resolve({ kind: 'diverges', divergence })
  }

  /** Runs it once. */
  async run(): Promise<ReplayEnd> {
    const { clock } = this.ports
    const late = new Error(`The turn did not come to an end in ${TURN_MS_MAX} ms.`)
    const timer = clock.after(TURN_MS_MAX, () => this.#ended.resolve({ kind: 'fails', error: late }))
    this.#work().then(this.#ended.resolve, (error: unknown) => this.#ended.resolve({ kind: 'fails', error }))
    const ended = await this.#ended.promise
    timer.cancel()
    this.close()
    return ended
  }

  async #work(): Promise<ReplayEnd> {
    const handler = handlerOf(this.agent, this.envelope)
    if (handler === null) throw new Error(`Agent ${this.agent.code.name} has no operation "${this.envelope.op}" now.`)
    try {
      await handler(new DurableContext(this), handOver(this.envelope.args))
    } catch (error) {
      const end = endedWith(this, error)
      if (end === null) throw error
      const { how } = end
      if (this.#leavesResults(END_WORDS[how])) return this.#ended.promise
      return { kind: 'ended', how, sent: 0, state: this.record.live }
    }
    if (this.#leavesResults(END_WORDS.done)) return this.#ended.promise
    const state = applyPatches(this.base, this.takePatches())
    return { kind: 'ended', how: 'done', sent: this.outbox.messages.length, state }
  }

  #leavesResults(ended: string): boolean {
    if (this.unreplayed === null) return false
    this.diverge({ asked: [], ended })
    return true
  }
}

export function upgraded({ definition }: AgentEntry, state: Value, from: number): Value {
  return from < definition.version ? copy(upgradeState(definition, state, from)) : state
}
