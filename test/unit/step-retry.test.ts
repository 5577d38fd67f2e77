/** Attempts of a step: back-off, what is retried, what a crash leaves of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { StepInfo, StepOptions } from '../../server/definition/step.ts'
import { RETRY_AFTER_MS_MAX } from '../../server/journal/step.ts'
import { RuntimeError } from '../../shared/error.ts'
import { World } from '../support/runtime.ts'

let world: World
let begun: { at: number; info: StepInfo }[]
let options: StepOptions
let body: (info: StepInfo) => unknown

beforeEach(() => {
  world = World.memory()
  begun = []
  options = {}
  body = () => null
})
afterEach(() => world.close())

const worker = agent('worker', {
  state: () => ({ got: null as unknown }),
  on: {
    async work(ctx) {
      const got: unknown = await ctx.step(
        'job',
        (info) => {
          begun.push({ at: world.clock.now(), info })
          return body(info)
        },
        options,
      )
      ctx.state.got = got
      return got
    },
  },
})

const gaps = (): number[] => begun.slice(1).map(({ at }, i) => at - (begun[i]?.at ?? 0))
const fail = (message = 'not now', more: object = {}): never => {
  throw Object.assign(new Error(message), more)
}

describe('back-off', () => {
  test('[Q2] waits grow by the factor up to the maximum; without jitter they are exact', async () => {
    options = { retry: { max: 6, initialMs: 100, factor: 3, maxMs: 1_000, jitter: 0 } }
    body = () => fail()
    const node = await world.node('a', [worker])
    await node.call(node.send(node.ref(worker, 'k').work()))
    await world.until(() => node.written().some((entry) => entry.k === 'step'))
    const message = 'Step job failed after 6 attempts: not now'
    expect(node.written().find((entry) => entry.k === 'step')).toMatchObject({ attempts: 6, out: { err: { message } } })
    expect(gaps().slice(0, 5)).toEqual([100, 300, 900, 1_000, 1_000])
  })

  test('[Q2] jitter leaves its part of the wait to chance', async () => {
    options = { retry: { max: 40, initialMs: 1_000, factor: 1, jitter: 0.2 } }
    body = () => fail()
    const node = await world.node('a', [worker])
    await node.call(node.send(node.ref(worker, 'k').work()))
    await world.until(() => begun.length === 40)
    expect(Math.min(...gaps())).toBeGreaterThanOrEqual(799)
    expect(Math.max(...gaps())).toBeLessThanOrEqual(1_010)
    expect(new Set(gaps().map(Math.round)).size).toBeGreaterThan(10)
  })

  test('[Q2] a failure that asks for patience gets it, up to the cap', async () => {
    options = { retry: { max: 3, maxMs: 50, jitter: 0 } }
    body = () => fail('busy', { retryAfterMs: begun.length === 1 ? 7_000 : 10 * RETRY_AFTER_MS_MAX })
    const node = await world.node('a', [worker])
    void node.send(node.ref(worker, 'k').work())
    await world.until(() => begun.length === 2)
    await world.advance(RETRY_AFTER_MS_MAX - 100)
    expect(begun).toHaveLength(2)
    await world.until(() => begun.length === 3)
    expect(gaps()).toEqual([7_000, RETRY_AFTER_MS_MAX])
  })

  test('[Q2] what cannot come good ends the step at once', async () => {
    const node = await world.node('a', [worker])
    const ends = async (make: () => unknown, key: string): Promise<number> => {
      begun = []
      body = () => {
        throw make()
      }
      await world.refusal(node.ref(worker, key).work())
      return begun.length
    }
    options = { retry: { max: 2, initialMs: 1 } }
    const perTurn = worker.maxAttempts // the message is tried again, each time with a new step
    expect(await ends(() => new RuntimeError('SCHEMA_MISMATCH', 'no'), 'a')).toBe(perTurn)
    expect(await ends(() => Object.assign(new Error('no'), { retryable: false }), 'b')).toBe(perTurn)
    expect(await ends(() => new Error('yes'), 'c')).toBe(2 * perTurn)
    options = { retry: { max: 2, initialMs: 1, retryIf: (error) => (error as Error).message === 'again' } }
    expect(await ends(() => new Error('no'), 'd')).toBe(perTurn)
    expect(await ends(() => new Error('again'), 'e')).toBe(2 * perTurn)
    options = { retry: { max: 2, retryIf: () => fail('the policy itself is broken') } }
    begun = []
    const broken = await world.refusal(node.ref(worker, 'f').work())
    expect(begun).toHaveLength(perTurn)
    expect(broken.message).toContain('the policy itself is broken')
  })
})

describe('what a crash leaves', () => {
  test('[Q3] failed attempts count after a crash, the wait goes on until its time', async () => {
    options = { retry: { max: 3, initialMs: 60_000, factor: 1, jitter: 0 } }
    body = () => fail()
    const a = await world.node('a', [worker])
    await a.call(a.send(a.ref(worker, 'k').work()))
    await world.until(() => a.written().some((entry) => entry.k === 'retry'))
    const [first] = begun
    await world.advance(5_000)
    a.kill()
    const b = await world.node('b', [worker])
    await world.until(() => b.core.kernel.find('worker/k')?.wait?.kind === 'retry')
    expect(b.core.kernel.find('worker/k')?.wait).toMatchObject({ attempt: 2, deadline: (first?.at ?? 0) + 60_000 })
    expect(begun).toHaveLength(1)
    await world.until(() => begun.length === 3)
    expect(begun.map(({ info }) => info.attempt)).toEqual([1, 2, 3])
    expect(gaps()).toEqual([60_000, 60_000])
    await world.until(() => b.written().some((entry) => entry.k === 'step'))
    const step = b.written().find((entry) => entry.k === 'step')
    expect(step).toMatchObject({ attempts: 3, out: { err: { code: 'STEP_FAILED' } } })
  })

  test('[Q3] an entry is written only for an attempt that another one follows', async () => {
    options = { retry: { max: 3, initialMs: 1 } }
    body = () => (begun.length < 3 ? fail() : 'at last')
    const node = await world.node('a', [worker])
    expect(await node.call(node.ref(worker, 'k').work())).toBe('at last')
    const kinds = node.written().map((entry) => entry.k)
    expect(kinds).toEqual(['init', 'accepted', 'retry', 'retry', 'step', 'end'])
  })

  test('[Q3] the next attempt begins only when the failure before it is stored', async () => {
    options = { retry: { max: 2, initialMs: 1, jitter: 0 } }
    body = () => (begun.length < 2 ? fail() : 'done')
    const node = await world.node('a', [worker])
    const held = Promise.withResolvers<void>()
    node.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.payload.includes('"retry"'))
        ? { kind: 'hold', until: held.promise }
        : undefined,
    )
    const answer = node.ref(worker, 'k').work().run()
    answer.catch(() => {}) // awaited below
    await world.until(() => begun.length === 1)
    await world.advance(1_000)
    expect(begun).toHaveLength(1)
    held.resolve()
    expect(await world.run(answer)).toBe('done')
  })

  test('[Q3] a step that failed with an attempt of its message begins anew', async () => {
    options = { retry: { max: 2, initialMs: 1 } }
    body = () => (begun.length <= 2 ? fail() : 'in the second round')
    const node = await world.node('a', [worker])
    await node.call(node.send(node.ref(worker, 'k').work()))
    await world.until(async () => ((await node.stored('worker/k')) as { got: unknown } | null)?.got !== null)
    expect(begun.map(({ info }) => info.attempt)).toEqual([1, 2, 1])
  })
})

describe('total time', () => {
  test('[Q4] no attempt and no wait goes beyond it', async () => {
    options = { totalMs: 1_000, retry: { max: 100, initialMs: 400, factor: 1, jitter: 0 } }
    body = () => fail()
    const node = await world.node('a', [worker])
    const error = await world.refusal(node.ref(worker, 'k').work())
    expect(error.message).toContain('its 1000 ms in all leave no room for another')
    expect(gaps().slice(0, 2)).toEqual([400, 400])
    expect(begun).toHaveLength(3 * worker.maxAttempts)
  })

  test('[Q4] an attempt that runs when it is over is aborted', async () => {
    options = { totalMs: 1_000, retry: { max: 100 } }
    body = () => new Promise(() => {})
    const node = await world.node('a', [worker])
    await node.call(node.send(node.ref(worker, 'k').work()))
    await world.until(() => begun.length === 1)
    const signal = begun[0]?.info.signal
    await world.advance(999)
    expect(signal?.aborted).toBe(false)
    await world.advance(1)
    expect(signal?.reason).toMatchObject({
      code: 'STEP_TIMEOUT',
      message: 'Step job had 1000 ms in all; they are over.',
    })
    await world.until(() => node.written().some((entry) => entry.k === 'step'))
  })

  test('[Q4] a crash in the first attempt does not stop its clock', async () => {
    options = { totalMs: 30_000 }
    body = () => new Promise(() => {})
    const a = await world.node('a', [worker])
    await a.call(a.send(a.ref(worker, 'k').work()))
    await world.until(() => begun.length === 1)
    await world.advance(20_000)
    a.kill()
    const b = await world.node('b', [worker])
    await world.until(() => begun.length === 2)
    const startedAt = begun[0]?.at ?? 0
    await world.until(() => b.written().some((entry) => entry.k === 'step'))
    expect(world.clock.now() - startedAt).toBeLessThan(30_100)
    expect(world.clock.now() - startedAt).toBeGreaterThanOrEqual(30_000)
  })
})

describe('identity', () => {
  test('[Q10] one key per step, one per attempt; an attempt cut short by a crash keeps its key', async () => {
    options = { retry: { max: 3, initialMs: 1 } }
    body = () => (begun.length === 1 ? fail() : begun.length === 2 ? new Promise(() => {}) : null)
    const a = await world.node('a', [worker])
    await a.call(a.send(a.ref(worker, 'k').work()))
    await world.until(() => begun.length === 2)
    a.kill()
    await world.node('b', [worker])
    await world.until(() => begun.length === 3)
    const [first, second, third] = begun.map(({ info }) => info)
    expect(new Set(begun.map(({ info }) => info.idempotencyKey)).size).toBe(1)
    expect(first?.attemptKey).not.toBe(second?.attemptKey)
    expect(third?.attemptKey).toBe(second?.attemptKey)
    expect(first?.attemptKey).not.toBe(first?.idempotencyKey)
  })

  test('[Q10] an attempt of a later round has another key than one that failed before', async () => {
    options = { retry: { max: 1 } }
    body = () => (begun.length === 1 ? fail() : null)
    const node = await world.node('a', [worker])
    await node.call(node.send(node.ref(worker, 'k').work()))
    await world.until(() => begun.length === 2)
    const [first, second] = begun.map(({ info }) => info)
    expect(second?.attempt).toBe(1)
    expect(second?.idempotencyKey).toBe(first?.idempotencyKey)
    expect(second?.attemptKey).not.toBe(first?.attemptKey)
  })
})
