/** Heartbeats, progress and the signal of a step. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { StepInfo, StepOptions } from '../../server/definition/step.ts'
import { PROGRESS_CHARACTERS_MAX } from '../../server/journal/attempt.ts'
import { PROGRESS_STORE_MS } from '../../server/journal/progress.ts'
import { type TestNode, World } from '../support/runtime.ts'

let world: World
let infos: StepInfo[]
let options: StepOptions
let body: (info: StepInfo) => unknown
const ACT = { actor: 'test' }

beforeEach(() => {
  world = World.memory()
  infos = []
  options = { retry: { max: 2, initialMs: 1 } }
  body = () => null
})
afterEach(() => world.close())

const NEVER = new Promise<never>(() => {})
const worker = agent('worker', {
  maxAttempts: 1,
  state: () => ({ got: null as unknown }),
  on: {
    async work(ctx) {
      const run = (info: StepInfo): unknown => {
        infos.push(info)
        return body(info)
      }
      ctx.state.got = await ctx.step('job', run, options)
    },
  },
})

const progresses = (node: TestNode): unknown[] =>
  node.written().flatMap((entry) => (entry.k === 'progress' ? [entry.value] : []))

async function begin(): Promise<TestNode> {
  const node = await world.node('a', [worker])
  await node.call(node.send(node.ref(worker, 'k').work()))
  await world.until(() => infos.length === 1)
  return node
}

describe('silence', () => {
  test('[Q5] an attempt that is silent too long fails, one that reports goes on', async () => {
    options = { heartbeatMs: 1_000, retry: { max: 2, initialMs: 1 } }
    body = () => NEVER
    const node = await begin()
    for (let i = 0; i < 5; i++) {
      await world.advance(900)
      infos[0]?.heartbeat()
    }
    expect(infos).toHaveLength(1)
    await world.advance(999)
    expect(infos[0]?.signal.aborted).toBe(false)
    await world.advance(1)
    expect(infos[0]?.signal.reason).toMatchObject({ code: 'STEP_HEARTBEAT_TIMEOUT' })
    await world.until(() => infos.length === 2)
    await world.until(() => node.written().some((entry) => entry.k === 'step'))
    const step = node.written().find((entry) => entry.k === 'step')
    expect(step).toMatchObject({ out: { err: { cause: { code: 'STEP_HEARTBEAT_TIMEOUT' } } } })
  })

  test('[Q5] the heartbeat of an attempt that is over throws why', async () => {
    options = { timeoutMs: 100, retry: { max: 2, initialMs: 1 } }
    body = () => NEVER
    await begin()
    await world.until(() => infos.length === 2)
    expect(() => infos[0]?.heartbeat(1)).toThrow('took longer than 100 ms')
    expect(infos[1]?.progress).toBeUndefined()
  })

  test('[Q5] a progress that cannot be kept is refused where it is reported', async () => {
    body = () => NEVER
    await begin()
    expect(() => infos[0]?.heartbeat(() => {})).toThrow(expect.objectContaining({ code: 'VALUE_UNSUPPORTED' }))
    const large = 'x'.repeat(PROGRESS_CHARACTERS_MAX)
    expect(() => infos[0]?.heartbeat(large)).toThrow(expect.objectContaining({ code: 'VALUE_TOO_LARGE' }))
  })
})

describe('progress', () => {
  test('[Q6] the next attempt gets what was reported last, also of what was not stored yet', async () => {
    body = (info) => {
      if (infos.length === 2) return info.progress
      for (let i = 1; i <= 7; i++) info.heartbeat({ done: i })
      throw new Error('stumbled')
    }
    const node = await begin()
    await world.until(async () => ((await node.stored('worker/k')) as { got: unknown } | null)?.got !== null)
    expect(await node.stored('worker/k')).toEqual({ got: { done: 7 } })
    expect(infos[0]?.progress).toBeUndefined()
  })

  test('[Q6] it is stored at once, then rarely, the last report always; a crash finds it', async () => {
    body = () => NEVER
    const a = await begin()
    for (let i = 1; i <= 20; i++) {
      infos[0]?.heartbeat({ done: i })
      await world.advance(PROGRESS_STORE_MS / 10)
    }
    await world.advance(PROGRESS_STORE_MS)
    expect(progresses(a)).toEqual([{ done: 1 }, { done: 10 }, { done: 20 }])
    a.kill()
    const b = await world.node('b', [worker])
    await world.until(() => infos.length === 2)
    expect(infos[1]).toMatchObject({ attempt: 1, progress: { done: 20 } })
    await world.until(() => b.core.kernel.find('worker/k')?.wait?.kind === 'step')
  })

  test('[Q6] observers see it in the wait of the process, cut to a line', async () => {
    body = () => NEVER
    const node = await begin()
    const wait = () => node.core.kernel.find('worker/k')?.wait
    expect(wait()).not.toHaveProperty('progress')
    infos[0]?.heartbeat('page 3 of 8')
    expect(wait()).toMatchObject({ kind: 'step', target: 'job', attempt: 1, progress: 'page 3 of 8' })
    infos[0]?.heartbeat({ text: 'x'.repeat(1_000) })
    expect(wait()?.progress).toHaveLength(200)
  })
})

describe('signal', () => {
  test('[Q7] an attempt that takes too long is aborted with the reason; one that ends well is not', async () => {
    options = { timeoutMs: 100, retry: { max: 2, initialMs: 1 } }
    body = () => (infos.length === 1 ? NEVER : 'good')
    const node = await begin()
    const signal = infos[0]?.signal
    await world.until(async () => ((await node.stored('worker/k')) as { got: unknown } | null)?.got === 'good')
    expect(signal?.reason).toMatchObject({ code: 'STEP_TIMEOUT' })
    expect(infos[1]?.signal.aborted).toBe(false)
  })

  test.each([
    ['kill', (node: TestNode) => node.control.kill('worker/k', { ...ACT, reason: 'enough' })],
    ['drain', (node: TestNode) => node.stop()],
  ])('[Q7] the %s of the process aborts it with the reason', async (_name, act) => {
    body = () => NEVER
    const node = await begin()
    const signal = infos[0]?.signal
    const acted = act(node)
    await world.until(() => signal?.aborted === true)
    expect(signal?.reason).toMatchObject({ code: 'PROCESS_EXITED' })
    expect(() => infos[0]?.heartbeat()).toThrow('worker/k ended')
    await world.run<unknown>(acted)
  })

  test('[Q7] no attempt follows one that the end of the process aborted', async () => {
    options = { retry: { max: 5, initialMs: 1 } }
    body = (info) =>
      new Promise((_, reject) => info.signal.addEventListener('abort', () => reject(new Error('aborted'))))
    const node = await begin()
    infos[0]?.signal.throwIfAborted()
    await node.call(node.control.kill('worker/k', { ...ACT, message: 'drop' }))
    await world.advance(5_000)
    expect(infos).toHaveLength(1)
    expect(node.written().some((entry) => entry.k === 'retry' || entry.k === 'step')).toBe(false)
  })
})
