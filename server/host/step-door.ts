/**
 * Outcomes of steps from outside: `runtime.completeStep`, `runtime.failStep` and the HTTP endpoints behind them.
 *
 * - A token is looked up in the journal of its process, never trusted: it counts while its turn is open there.
 * - Works on any node, whether the process runs here, elsewhere or nowhere: the outcome is a stored message.
 */
import { type ErrorData, errorData, RuntimeError } from '../../shared/error.ts'
import { assertProcessId, type ProcessId } from '../../shared/id.ts'
import { copy } from '../../shared/value.ts'
import { nameOf } from '../journal/branch.ts'
import type { Outcome } from '../journal/entry.ts'
import { fold } from '../journal/fold.ts'
import { outcomeOfError, plain } from '../journal/message.ts'
import { outcomeKey, readToken, type StepAddress, settleToken } from '../journal/step-token.ts'
import { type Lineage, NO_LINEAGE } from '../kernel/envelope.ts'
import type { RuntimeCore } from '../runtime.ts'
import { type EpochPorts, underEpoch } from './epoch-write.ts'

export type StepOutcome = { readonly value: unknown } | { readonly error: unknown }

/** Whoever holds a token may be told no more than that it is none. */
const UNKNOWN_STEP: ProcessId = 'step/unknown'

export class StepDoor {
  readonly #core: RuntimeCore

  constructor(core: RuntimeCore) {
    this.#core = core
  }

  /** Process of a token, by its own words; `UNKNOWN_STEP` for what is no token. */
  processOf(token: string): ProcessId {
    return addressOf(token)?.process ?? UNKNOWN_STEP
  }

  /** Resolves once the outcome is stored; the process goes on with it whenever it runs.
   *  @throws STEP_NOT_FOUND ALREADY_COMPLETED VALUE_UNSUPPORTED RUNTIME_STOPPED NODE_DRAINING */
  async settle(token: string, outcome: StepOutcome, lineage: Lineage = NO_LINEAGE): Promise<void> {
    const core = this.#core
    core.assertAccepting()
    const address = addressOf(token)
    if (address === null) throw notFound()
    const out = outOf(address, outcome)
    const { store } = core.backend.handle
    if (!(await this.#isOpen(token, address))) {
      // Looked at second: what was taken before the journal was read has its row for good.
      const row = await store.requestRow(core.namespace, address.process, outcomeKey(token))
      throw row === null ? notFound() : completed(address)
    }
    const epoch: EpochPorts = { node: () => core.node, rejoin: () => core.rejoin() }
    const door = {
      store,
      crash: core.layer.ports.crash,
      node: () => core.node,
      deliver: core.layer.deliver.bind(core.layer),
      newId: () => core.newId(),
      storeNow: () => core.storeNow(),
    }
    const isFirst = await underEpoch(epoch, () => settleToken(door, { token, address, out }, lineage))
    if (!isFirst) throw completed(address)
  }

  async #isOpen(token: string, { process, turn, key }: StepAddress): Promise<boolean> {
    const { archive } = this.#core.backend.handle
    const record = await archive.process(this.#core.namespace, process)
    if (record === null) return false
    const { open } = fold(await archive.stateRows(record.pid))
    if (open === null || nameOf(open) !== turn) return false
    return open.entries.some((entry) => entry.k === 'opened' && entry.key === key && entry.token === token)
  }
}

function addressOf(token: string): StepAddress | null {
  const address = readToken(token)
  if (address === null) return null
  try {
    assertProcessId(address.process)
    return address
  } catch {
    return null // names no possible process
  }
}

function outOf({ key }: StepAddress, outcome: StepOutcome): Outcome {
  if ('value' in outcome) return { ok: outcome.value === undefined ? null : copy(outcome.value) }
  const cause = causeOf(outcome.error)
  return { err: { code: 'STEP_FAILED', message: `Step ${key} was failed from outside: ${cause.message}`, cause } }
}

/** An Error, or one that crossed a border as plain data. */
export function causeOf(error: unknown): ErrorData {
  const out = outcomeOfError(error)
  const data = 'err' in out ? out.err : errorData(error)
  if (error instanceof Error || typeof error !== 'object' || error === null) return data
  const [code, message]: unknown[] = [Reflect.get(error, 'code'), Reflect.get(error, 'message')]
  if (typeof message !== 'string') return data
  const given = { code: typeof code === 'string' ? code : data.code, message }
  return plain(given) as unknown as ErrorData // plain() keeps the shape
}

function notFound(): RuntimeError {
  return new RuntimeError('STEP_NOT_FOUND', 'No open step has this token.')
}

function completed({ key, process }: StepAddress): RuntimeError {
  return new RuntimeError('ALREADY_COMPLETED', `Step ${key} of ${process} has an outcome already.`)
}
