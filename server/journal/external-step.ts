/**
 * A step that is completed from outside: `ctx.step(name, fn, { external: true })`.
 *
 * - The token is stored before the function sees it, so that it survives everything; the function hands it out and may
 *   be retried like any other. That it is done is recorded: from then on only the wait goes on, which is a durable one
 *   (wait.ts): the turn may leave memory.
 * - One outcome counts, whoever gives it: somebody with the token, the function by failing for good, or the total time.
 *   All go through the same door (step-token.ts) and come back as a row of this process.
 * - A process that ends or moves meanwhile finds the row in its mailbox.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ExternalStepInfo, StepInfo } from '../definition/step.ts'
import { pause } from '../kernel/clock-port.ts'
import { totalOver } from './attempt.ts'
import type { Outcome } from './entry.ts'
import { decodeOutcome } from './message.ts'
import type { AwaitedReply } from './record.ts'
import { stepFailed } from './step.ts'
import { type Door, makeToken, type StepAddress, settleToken, takenOutcome, waitName } from './step-token.ts'
import type { LiveStep } from './turn-step.ts'
import { type DurableWait, startWait } from './wait.ts'

/** Ms before an outcome that could not be stored is offered again: first wait, doubled, bounded. */
const OFFER_MS_FIRST = 100
const OFFER_MS_MAX = 5_000

export async function runExternal(step: LiveStep): Promise<unknown> {
  const { turn, key, past } = step
  await turn.flushed()
  turn.assertOpen()
  const address: StepAddress = { process: turn.process.id, turn: turn.name, key }
  const token = past?.token ?? makeToken(address, turn.ports.random.id())
  const began = past?.token == null ? step.open(token) : (past.began ?? turn.wallclock())
  await step.ready()
  if (past?.token == null) turn.ports.crash.hit('external:token-stored')
  const outside = new Outside(step, { token, address, began })
  return outside.run()
}

type Asked = { token: string; address: StepAddress; began: number }

class Outside {
  readonly #step: LiveStep
  readonly #asked: Asked
  readonly #name: string
  #came = false
  #gone = false

  constructor(step: LiveStep, asked: Asked) {
    this.#step = step
    this.#asked = asked
    this.#name = waitName(asked.address)
  }

  async run(): Promise<unknown> {
    const outcome = this.#listen()
    const handed = this.#step.past?.handed ?? null
    const { attempts, out } =
      handed === null && !this.#came ? await this.#handOut() : { attempts: handed ?? 1, out: true }
    const wait = out && !this.#came && !this.#gone ? this.#wait(attempts) : null
    await outcome
    wait?.end()
    return this.#take(attempts)
  }

  /** Resolves when the outcome is here, or the turn is over. */
  #listen(): Promise<void> {
    const { turn } = this.#step
    const { record } = turn
    const { promise, resolve } = Promise.withResolvers<void>()
    if (record.replies.has(this.#name)) this.#came = true
    if (this.#came) resolve()
    const awaited: AwaitedReply = {
      target: null,
      op: this.#step.name,
      at: this.#asked.began,
      settle: (row) => {
        awaited.cancel()
        if (row === null || row instanceof RuntimeError) return
        // Kept where the end of the turn finds it, until the step's entry takes it.
        record.replies.set(this.#name, row)
        this.#came = true
        const text = `Step ${this.#step.name} has its outcome from outside.`
        this.#step.endAttempt(new RuntimeError('ALREADY_COMPLETED', text))
        resolve()
      },
      cancel: () => {
        if (record.waiting.get(this.#name) === awaited) record.waiting.delete(this.#name)
      },
    }
    if (!this.#came) record.waiting.set(this.#name, awaited)
    const { onEnd } = this.#step
    this.#step.onEnd = () => {
      onEnd?.()
      this.#gone = true
      resolve()
    }
    return promise
  }

  /** Runs the function, which gives the token to somebody; `out` is whether it did. */
  async #handOut(): Promise<{ attempts: number; out: boolean }> {
    const { turn, name, key } = this.#step
    const { token, began } = this.#asked
    const fn = this.#step.given as (info: ExternalStepInfo) => unknown // external: the caller's overload
    const run = this.#step.begin((info: StepInfo) => fn(Object.assign(info, { token })), began)
    const result = await turn.ports.tracing.step(turn.process, name, () => run.run())
    if (result.kind === 'ended') return { attempts: this.#step.wait?.attempt ?? 1, out: false }
    const { attempts } = result
    if (this.#came || turn.closed) return { attempts, out: false }
    if ('err' in result.out) {
      void this.#offer(result.out)
      return { attempts, out: false }
    }
    turn.append({ k: 'handed', turn: turn.id, key, attempts })
    return { attempts, out: true }
  }

  /** The process waits for somebody outside, at most until the total time is over. */
  #wait(attempt: number): DurableWait {
    const { turn, name, plan } = this.#step
    const { totalMs } = plan
    const since = this.#asked.began
    const deadline = totalMs === null ? null : since + totalMs
    this.#step.wait = null // its own view is over: rows show the durable one
    const view = { kind: 'step', target: `${name} (from outside)`, since, deadline, attempt } as const
    if (totalMs === null) return startWait(turn, view, null)
    return startWait(turn, view, () => {
      void this.#offer({ err: stepFailed(name, attempt, totalOver(name, totalMs)) })
    })
  }

  /** Offers an outcome of the runtime's own until one is stored: this one, or somebody else's. */
  async #offer(out: Outcome): Promise<void> {
    const { turn } = this.#step
    const { ports } = turn
    const door: Door = {
      store: ports.store,
      crash: ports.crash,
      node: () => ports.node(),
      deliver: (row) => ports.deliver(row),
      newId: () => ports.newId(),
      storeNow: () => turn.wallclock(),
    }
    const { token, address } = this.#asked
    for (let ms = OFFER_MS_FIRST; !this.#came && !this.#gone; ms = Math.min(ms * 2, OFFER_MS_MAX)) {
      try {
        await settleToken(door, { token, address, out }, turn.lineage)
        return
      } catch (error) {
        ports.failed(`storing the outcome of step ${this.#step.name} of ${turn.process.id}`, error)
        await pause(ports.clock, ms)
      }
    }
  }

  #take(attempts: number): unknown {
    const { turn } = this.#step
    const { record } = turn
    const row = record.replies.get(this.#name)
    if (this.#gone || row === undefined) throw this.#step.ended()
    const out = decodeOutcome(row.args)
    return this.#step.record(out, attempts, () => {
      record.replies.delete(this.#name)
      return {
        consumed: [{ target: row.target, ord: row.ord }],
        requests: [takenOutcome(turn.process.id, this.#asked.token, out)],
      }
    })
  }
}
