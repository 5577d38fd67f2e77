/** Models: one thread for many agents, inputs in batches, and what becomes of a batch that goes wrong. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { MODEL_QUEUE_MAX, RESTART_MS_FIRST } from '../../server/compute/model-thread.ts'
import { computePlan } from '../../server/compute/option.ts'
import { ComputePool } from '../../server/compute/pool.ts'
import { agent } from '../../server/definition/agent.ts'
import { type ModelOptions, model } from '../../server/definition/model.ts'
import { type ErrorData, errorData } from '../../shared/error.ts'
import { Gate } from '../support/compute-gate.ts'
import type { Input, Output } from '../support/compute-model.ts'
import { World } from '../support/runtime.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

type Module = typeof import('../support/compute-model.ts')
type Given = Partial<ModelOptions> & { file?: string }

const WAIT_MS = 50
const define = ({ file = 'compute-model', ...options }: Given = {}) =>
  model<Module>('sizes', {
    ...{ module: new URL(`../support/${file}.ts`, import.meta.url), maxBatch: 3, maxWaitMs: WAIT_MS },
    ...options,
  })
const plain = define()

let clock: VirtualClock
let pool: ComputePool
let gate: Gate
let complaints: string[]
beforeEach(() => {
  clock = new VirtualClock()
  gate = new Gate()
  complaints = []
  pool = new ComputePool(computePlan({ threads: 1 }), clock, (what, error) => void complaints.push(`${what}: ${error}`))
})
afterEach(async () => {
  await pool.close()
  gate.remove()
})

const NEVER = new AbortController().signal
const ask = (input: Input | string, { of = plain, signal = NEVER } = {}): Promise<Output> =>
  pool.infer({ model: of, input: typeof input === 'string' ? { text: input } : input, signal }) as never // of `run`

async function failure(result: Promise<unknown>): Promise<ErrorData> {
  return errorData(
    await result.then(
      (value) => expect.fail(`resolved with ${JSON.stringify(value)}`),
      (error) => error,
    ),
  )
}

const batches = async (outputs: Promise<Output>[]) => (await Promise.all(outputs)).map(({ batch }) => batch)
const until = (holds: () => boolean) => vi.waitFor(() => expect(holds()).toBe(true), { timeout: 20_000, interval: 2 })
const status = () => pool.models['sizes']?.status

test('[U8] what comes at once is answered in batches, each input with its own output, all by one load', async () => {
  const all = ['a', 'bb', 'ccc', 'dddd', 'eeeee'].map((text) => ask(text))
  expect(await batches(all.slice(0, 3))).toEqual(['a+bb+ccc', 'a+bb+ccc', 'a+bb+ccc'])
  await clock.advance(WAIT_MS)
  expect(await Promise.all(all)).toMatchObject([1, 2, 3, 4, 5].map((length) => ({ length, loads: 1 })))
  expect(await all[4]).toMatchObject({ batch: 'dddd+eeeee' })
  expect(pool.models).toEqual({
    sizes: { status: 'idle', queued: 0, batches: 2, inputs: 5, failed: 0, restarts: 0 },
  })
})

test('[U8] an input waits for others no longer than it is told, and for the batch before it', async () => {
  const first = ask({ text: 'a', gate: gate.folder })
  await until(() => status() === 'idle')
  await clock.advance(WAIT_MS - 1)
  expect(status()).toBe('idle')
  const second = ask('b')
  await clock.advance(1)
  expect(status()).toBe('busy')
  const third = ask('c')
  await clock.advance(WAIT_MS)
  gate.open()
  expect(await batches([first, second, third])).toEqual(['a+b', 'a+b', 'c'])
})

test('[U9] when run throws for several inputs each is answered by itself, and only one fails', async () => {
  const all = [ask('a'), failure(ask({ text: 'b', fault: 'throw' })), ask('c')] as const
  expect(await all[1]).toMatchObject({ name: 'RangeError', message: 'b is out of range' })
  expect(await batches([all[0], all[2]])).toEqual(['a', 'c'])
  expect(pool.models['sizes']).toMatchObject({ batches: 4, failed: 1, restarts: 0 })
})

test.each([
  ['exit', 'THREAD_ENDED', 'run of compute-model.ts ended its thread with process.exit(4).'],
  ['grow', 'OUT_OF_MEMORY', 'run of compute-model.ts used up the 32 MiB of heap that a thread has.'],
] as const)(
  '[U10] a thread that ends (%s) fails its batch; it starts again after a pause',
  async (fault, code, message) => {
    const of = define({ memoryMb: 32 })
    const lost = ['a', 'b', 'c'].map((text) => failure(ask(text === 'b' ? { text, fault } : text, { of })))
    const kept = ['d', 'e', 'f'].map((text) => ask(text, { of }))
    for (const error of await Promise.all(lost)) expect(error).toMatchObject({ code, message })
    await until(() => clock.armed > 0)
    await clock.advance(RESTART_MS_FIRST - 1)
    expect(status()).toBe('restarting')
    await clock.advance(1)
    expect(status()).toBe('loading')
    // One alone first, then two: what would kill it again dies alone.
    expect(await batches(kept)).toEqual(['d', 'e+f', 'e+f'])
    expect(pool.models['sizes']).toMatchObject({ restarts: 1, failed: 3 })
    expect(complaints).toEqual([`the thread of model sizes: RuntimeError: ${message}`])
  },
)

test('[U10] the pause doubles with each failure in a row; a load that fails fails what waits', async () => {
  const of = define({ file: 'compute-model-broken' })
  for (const pauseMs of [RESTART_MS_FIRST, 2 * RESTART_MS_FIRST]) {
    expect(await failure(ask('a', { of }))).toMatchObject({ message: 'the weights are not here' })
    await until(() => clock.armed > 0)
    await clock.advance(pauseMs - 1)
    expect(status()).toBe('restarting')
    await clock.advance(1)
    expect(status()).toBe('off')
  }
})

test('[U10] a batch that takes too long is ended with its thread', async () => {
  const of = define({ maxWaitMs: 0, timeoutMs: 1_000 })
  const late = failure(ask({ text: 'a', fault: 'spin', gate: gate.folder }, { of }))
  await until(() => gate.begun().length === 1)
  await clock.advance(1_000)
  expect(await late).toMatchObject({
    code: 'THREAD_ENDED',
    message: 'run of compute-model.ts took longer than 1000 ms.',
  })
})

test('[U10] outputs that are not one for each input are refused with both numbers', async () => {
  const of = define({ file: 'compute-model-short', maxWaitMs: 0 })
  const error = await failure(ask('a', { of }))
  expect(error.code).toBe('DEFINITION_INVALID')
  expect(error.message).toBe('run of compute-model-short.ts answered 0 outputs for 1 inputs; it must be one each.')
})

test('[U11] an input that is given up leaves the queue; a batch that nobody waits for is ended', async () => {
  const [one, two] = [new AbortController(), new AbortController()]
  const gone = failure(ask({ text: 'a', gate: gate.folder }, { signal: one.signal }))
  const kept = ask('b')
  ask('c').catch(() => {}) // fills the batch
  const waits = failure(ask('x', { signal: one.signal }))
  await until(() => gate.begun().length === 1)
  one.abort(new Error('not wanted'))
  expect([(await gone).message, (await waits).message]).toEqual(['not wanted', 'not wanted'])
  expect(pool.models['sizes']).toMatchObject({ queued: 0 })
  gate.open()
  expect(await kept).toMatchObject({ batch: 'a+b+c', loads: 1 })

  const spinning = failure(ask({ text: 'd', fault: 'spin', gate: gate.folder }, { signal: two.signal }))
  await clock.advance(WAIT_MS)
  await until(() => gate.begun().length === 2)
  two.abort(new Error('enough'))
  expect((await spinning).message).toBe('enough')
  const next = ask('e')
  await until(() => status() === 'idle')
  await clock.advance(WAIT_MS)
  expect(await next).toMatchObject({ batch: 'e', loads: 1 })
  expect(pool.models['sizes']).toMatchObject({ restarts: 1 })
})

test('[U11] closing refuses what waits and what runs, and leaves no timer', async () => {
  const all = ['a', 'b', 'c', 'd'].map((text) => failure(ask({ text, gate: gate.folder })))
  await until(() => gate.begun().length === 1)
  await pool.close()
  for (const { code } of await Promise.all(all)) expect(code).toBe('RUNTIME_STOPPED')
  expect((await failure(ask('e'))).code).toBe('RUNTIME_STOPPED')
  expect(clock.armed).toBe(0)
})

test('[U8] more inputs than may wait are refused with the numbers', async () => {
  const all = Array.from({ length: MODEL_QUEUE_MAX }, () => ask('a').catch(() => {})) // closing refuses them
  const refused = await failure(ask('one more'))
  expect(refused.code).toBe('OVERLOADED')
  expect(refused.message).toBe('10000 inputs wait for model sizes, which is the limit; this one was not begun.')
  await pool.close()
  await Promise.all(all)
})

test('[U8] options out of their bounds, and one name for two modules, are refused', async () => {
  expect(() => define({ maxBatch: 0 })).toThrow('Option maxBatch of model sizes is 0; it must be a whole number from 1')
  expect(() => define({ maxWait: 5 } as Given)).toThrow('Option maxWait of model sizes does not exist')
  void failure(ask('a'))
  const other = failure(ask('a', { of: define({ file: 'compute-model-short' }) }))
  expect((await other).message).toContain('give one of them another name')
})

// Agents

const reader = agent('reader', {
  state: () => ({ sizes: [] as string[] }),
  on: {
    async read(ctx, texts: string[]) {
      const asked = texts.map((text) => ctx.infer(plain, { text }, { key: text }))
      for (const { length, loads } of await Promise.all(asked)) ctx.state.sizes.push(`${length}/${loads}`)
      return ctx.state.sizes.join()
    },
    async mend(ctx) {
      const lost = ctx.infer(plain, { text: 'x', fault: 'exit' }, { retry: { max: 2, initialMs: 1 } })
      return lost.then(String, (error: Error & { cause: { code: string } }) => `${error.cause.code} ${error.message}`)
    },
    async hold(ctx, folder: string) {
      const { length } = await ctx.infer(plain, { text: 'first' })
      ctx.state.sizes.push(`${length}`)
      await ctx.infer(plain, { text: 'second', gate: folder })
      return 'over'
    },
  },
})
const glance = agent('glance', {
  durability: 'ephemeral',
  state: () => null,
  on: { read: async (ctx, text: string) => (await ctx.infer(plain, { text })).length },
})

test('[U8] durable and ephemeral agents share it; a replay is handed what is recorded', async () => {
  const world = World.real()
  const node = await world.node('a', [reader, glance])
  const [sizes, size] = await world.run(
    Promise.all([node.ref(reader, 'r').read(['a', 'bb']).run(), node.ref(glance, 'g').read('ccc').run()]),
  )
  expect([sizes, size]).toEqual(['1/1,2/1', 3])
  node
    .ref(reader, 'h')
    .hold(gate.folder)
    .run()
    .catch(() => {}) // its node is killed: nobody answers
  await world.until(() => gate.begun().length === 1)
  node.kill()
  await node.core.compute.close()
  gate.open()
  const next = await world.node('b', [reader])
  await world.until(async () => JSON.stringify(await next.stored('reader/h')).includes('"5"'))
  expect(next.core.compute.models['sizes']).toMatchObject({ inputs: 1 })
  await world.close()
})

test('[U10] what dies with the thread is tried again by its step`s policy', async () => {
  const world = World.real()
  const node = await world.node('a', [reader])
  expect(await node.call(node.ref(reader, 'r').mend())).toMatch(
    /^THREAD_ENDED Step infer:sizes failed after 2 attempts/,
  )
  expect(await node.call(node.ref(reader, 'r').read(['a']))).toBe('1/1')
  await world.close()
})
