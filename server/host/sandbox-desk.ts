/**
 * Sandbox copies of processes: made, answered, taken away (E8 to E12). What a copy may do is sandbox-turn.ts's.
 *
 * - A copy is made of rows alone: the original is read and never touched, wherever it runs.
 * - A copy is one by its row, so that it stays one whoever runs it.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertProcessId, type ProcessId, processId, processNotFound, splitId } from '../../shared/id.ts'
import type { ProcessBody } from '../../shared/process-file.ts'
import { copy } from '../../shared/value.ts'
import type { Act, ActResult, SandboxAnswer } from '../control.ts'
import { recordOf } from '../journal/durable.ts'
import type { Outcome } from '../journal/entry.ts'
import { fold } from '../journal/fold.ts'
import { storable } from '../journal/message.ts'
import type { AgentEntry } from '../journal/port.ts'
import { SandboxTurn, type Stop } from '../journal/sandbox-turn.ts'
import { NO_LINEAGE } from '../kernel/envelope.ts'
import type { Process } from '../kernel/process.ts'
import { retire } from '../kernel/renewal.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { ShownProcess } from '../store/archive.ts'
import { stepsOutside } from './open-turn.ts'
import { pastFold } from './past-state.ts'
import {
  type CopiedState,
  type CopiedTurn,
  type Copy,
  copyOfState,
  copyOfTurn,
  stateSource,
  turnSource,
} from './sandbox-copy.ts'
import { causeOf, type StepDoor } from './step-door.ts'
import { assertIncarnation, said, type VerbTargets } from './verb-target.ts'

/** Copies of one process with a name that was not chosen. Whoever has so many looks at none of them. */
const COPIES_MAX = 1_000

export type Fork = { version?: number; state?: unknown; as?: ProcessId }

export class SandboxDesk {
  readonly #core: RuntimeCore
  readonly #targets: VerbTargets
  readonly #steps: StepDoor

  constructor(core: RuntimeCore, targets: VerbTargets, steps: StepDoor) {
    this.#core = core
    this.#targets = targets
    this.#steps = steps
  }

  /** @throws PROCESS_NOT_FOUND PROCESS_EXISTS VERSION_NOT_KEPT VALUE_UNSUPPORTED REQUEST_INVALID INCARNATION_GONE */
  async fork(id: ProcessId, fork: Fork, act: Act): Promise<ActResult> {
    const core = this.#core
    const { archive, store } = core.backend.handle
    const original = await archive.process(core.namespace, id)
    if (original === null) throw this.#notStored(id)
    assertIncarnation(original, act)
    const entry = core.layer.ports.agent(original.agent)
    if (original.kind !== 'agent' || entry === null) {
      throw new RuntimeError('REQUEST_INVALID', `${id} is of no agent that this node runs; no copy of it could run.`)
    }
    const from = await this.#source(original, entry, fork)
    const about: Copy = { of: original, by: said(act), at: core.storeNow(), codeVersion: core.layer.ports.codeVersion }
    const body = from.kind === 'turn' ? copyOfTurn(about, from) : copyOfState(about, from)
    const as = await this.#name(original, fork.as, (name) =>
      store.importProcess(core.node, body, { id: name, replace: false }),
    )
    core.layer.ports.crash.hit('fork:stored')
    await this.#begin(as, original.agent)
    return { id: as, incarnation: 1, outcome: `${as} is a sandbox copy of ${id}, ${whatOf(body, from)}` }
  }

  async #source(original: ShownProcess, entry: AgentEntry, { version, state }: Fork): Promise<Source> {
    const core = this.#core
    const { archive } = core.backend.handle
    const code = entry.code.version
    if (version !== undefined && state !== undefined) {
      throw new RuntimeError(
        'REQUEST_INVALID',
        'A copy has the state of a version or a given one. Name one of the two.',
      )
    }
    if (state !== undefined) {
      return { kind: 'state', version: null, state: copy(state), stateVersion: code, tried: null }
    }
    if (version !== undefined) {
      const past = await pastFold(core, original.id, version)
      return { kind: 'state', version, state: past.state, stateVersion: past.stateVersion || code, tried: null }
    }
    const rows = await archive.stateRows(original.pid)
    const turn = turnSource(original.id, rows)
    if (turn !== null) return turn
    const [first] = await archive.mailbox(core.namespace, original.id, { limit: 1 })
    const tried = first !== undefined && first.attempts > 0 ? { ...first, id: core.newId() } : null
    return { ...stateSource(rows, code), tried }
  }

  /** Under the name that is asked for, or the first of `KEY~1`, `KEY~2` … that nobody has. */
  async #name(
    { id, agent, key }: ShownProcess,
    as: ProcessId | undefined,
    store: (id: ProcessId) => Promise<'imported' | 'exists' | 'owned'>,
  ): Promise<ProcessId> {
    if (as !== undefined) {
      assertProcessId(as)
      if (splitId(as).agent !== agent) {
        throw new RuntimeError('REQUEST_INVALID', `${as} is no id for a copy of ${id}. Use ${agent}/KEY.`)
      }
      if (!this.#isHere(as) && (await store(as)) === 'imported') return as
      throw new RuntimeError('PROCESS_EXISTS', `${as} exists. Give another id.`, { detail: { id: as } })
    }
    for (let n = 1; n <= COPIES_MAX; n++) {
      const name = processId(agent, `${key}~${n}`)
      assertProcessId(name)
      if (this.#isHere(name) || (await this.#isStored(name))) continue
      if ((await store(name)) === 'imported') return name
    }
    throw new RuntimeError(
      'PROCESS_EXISTS',
      `${id} has ${COPIES_MAX} copies. Discard some, or name the id of this one.`,
    )
  }

  #isHere(id: ProcessId): boolean {
    return this.#core.kernel.find(id) !== undefined || this.#core.tree.isStatic(id)
  }

  async #isStored(id: ProcessId): Promise<boolean> {
    const { backend, namespace } = this.#core
    return (await backend.handle.archive.process(namespace, id)) !== null
  }

  /** It is stored as one that recovery looks at: a start that fails here is made up for there. */
  async #begin(id: ProcessId, agent: string): Promise<void> {
    const { tree, kernel } = this.#core
    try {
      const process = tree.ensure(id, agent, splitId(id).key, { spawned: true })
      if (process !== null) await kernel.started(process)
    } catch (error) {
      this.#core.complain(`starting the sandbox ${id}`, error)
    }
  }

  /** @throws NOT_FOUND REQUEST_INVALID VALUE_UNSUPPORTED ALREADY_COMPLETED and what `present` throws */
  async answer(id: ProcessId, outcome: SandboxAnswer, act: Act & { step?: string }): Promise<Acted> {
    const out = outcomeOf(outcome, act)
    const { backend, namespace } = this.#core
    const its = await backend.handle.archive.process(namespace, id)
    if (its?.sandbox === null) return this.#answerStep(its, outcome, act)
    const process = await this.#targets.present(id, act)
    const record = recordOf(process)
    if (record?.sandbox == null) throw nothingToAnswer(id)
    const stop = record.turn instanceof SandboxTurn ? stopOf(record.turn, act.step) : undefined
    if (stop === undefined) {
      const what = act.step === undefined ? 'an answer' : `an answer to ${act.step}`
      throw new RuntimeError('NOT_FOUND', `${id} does not wait for ${what}.`)
    }
    await stop.give(out, storable(act.actor))
    this.#core.layer.ports.crash.hit('answer:stored')
    return { process, outcome: `answered ${stop.key}` }
  }

  /** E13: by its journal, so that no node has to run it and nobody needs the token. */
  async #answerStep(its: ShownProcess, outcome: SandboxAnswer, act: Act & { step?: string }): Promise<Acted> {
    const { id } = its
    assertIncarnation(its, act)
    const { open } = fold(await this.#core.backend.handle.archive.stateRows(its.pid))
    const steps = open === null ? [] : stepsOutside(open.entries)
    const step = act.step === undefined ? steps[0] : steps.find(({ key }) => key === act.step)
    if (step === undefined) {
      if (steps.length === 0) throw nothingToAnswer(id)
      throw new RuntimeError('NOT_FOUND', `${id} does not wait for an answer to ${act.step}.`)
    }
    await this.#steps.settle(step.token, outcome, { ...NO_LINEAGE, actor: act.actor })
    return { process: its, outcome: `answered ${step.key}` }
  }

  /** @throws PROCESS_NOT_FOUND REQUEST_INVALID FENCED INCARNATION_GONE */
  async discard(id: ProcessId, act: Act): Promise<Acted> {
    const { backend, namespace, node } = this.#core
    const { archive, store } = backend.handle
    const stored = await archive.process(namespace, id)
    if (stored === null) throw this.#notStored(id)
    assertIncarnation(stored, act)
    if (stored.sandbox === null) throw noSandbox(id)
    const process = await this.#targets.here(id)
    if (process !== null && !process.elsewhere) await this.#end(process)
    const outcome = await store.discard(node, id)
    if (outcome === 'owned') throw new RuntimeError('FENCED', `${id} runs on another node. Discard it there.`)
    if (outcome === 'kept') throw noSandbox(id)
    return { process: stored, outcome: 'discarded' }
  }

  /** At once: what it is at is for nobody. Its supervisor starts it no more. */
  async #end(process: Process): Promise<void> {
    const { kernel, layer } = this.#core
    await retire(process, async () => {
      kernel.kill(process, { redeliver: false })
      if (!process.gone) await kernel.dead(process)
    })
    const record = recordOf(process)
    if (record === null || record.fenced) return
    process.slot = null
    record.fenced = true
    await layer.ports.release(record)
  }

  #notStored(id: ProcessId): RuntimeError {
    if (this.#core.kernel.find(id) === undefined) return processNotFound(id)
    return new RuntimeError('REQUEST_INVALID', `${id} keeps no journal; there is nothing of it that could be copied.`)
  }
}

type Source = CopiedState | CopiedTurn
/** Whom a verb was for, as it is afterwards. */
type Acted = { process: { readonly incarnation: number }; outcome: string }

function whatOf({ mailbox }: ProcessBody, from: Source): string {
  if (from.kind === 'turn') return `with its open turn ${from.open.op}`
  const at = from.version === null ? 'with the given state' : `as of version ${from.version}`
  return mailbox.length === 0 ? at : `${at}, with the message that is tried again`
}

function stopOf({ stops }: SandboxTurn, step: string | undefined): Stop | undefined {
  if (step !== undefined) return stops.get(step)
  for (const stop of stops.values()) return stop
  return undefined
}

function outcomeOf(given: SandboxAnswer, { actor }: Act): Outcome {
  if ('value' in given) return { ok: given.value === undefined ? null : copy(given.value) }
  const cause = causeOf(given.error)
  return { err: { code: 'STEP_FAILED', message: `Failed by ${actor} in a sandbox: ${cause.message}`, cause } }
}

export function nothingToAnswer(id: ProcessId): RuntimeError {
  return new RuntimeError('REQUEST_INVALID', `${id} is no sandbox copy, and waits for no step from outside.`)
}

export function noSandbox(id: ProcessId): RuntimeError {
  return new RuntimeError('REQUEST_INVALID', `${id} is no sandbox copy.`)
}
