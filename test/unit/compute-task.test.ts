/** `ctx.task` of a compute module: functions on threads, their results recorded like those of steps. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { computeModule } from '../../server/definition/compute.ts'
import { model } from '../../server/definition/model.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { Gate } from '../support/compute-gate.ts'
import { type TestNode, World } from '../support/runtime.ts'

const work = computeModule<typeof import('../support/compute-work.ts')>(
  new URL('../support/compute-work.ts', import.meta.url),
)

let world: World
let gate: Gate
beforeEach(() => {
  world = World.real()
  gate = new Gate()
})
afterEach(async () => {
  for (const node of world.nodes) await node.core.compute.close()
  await world.close()
  gate.remove()
})

const boss = agent('boss', {
  state: () => ({ words: ['a', 'ccc', 'bb'], sum: 0 }),
  on: {
    async rank(ctx) {
      const scores = await ctx.task(work, 'score', [[...ctx.state.words], 1]).result()
      return scores.map(({ word, points }) => `${word}${points}`).join()
    },
    async echo(ctx) {
      const when = await ctx.task(work, 'echo', [new Map([['x', new Date(5)]])]).result()
      return when.get('x')?.getTime()
    },
    async later(ctx) {
      const words = ['z', 'yy']
      const task = ctx.task(work, 'score', [words])
      words.push('changed later')
      return (await task.result()).length
    },
    async held(ctx, folder: string): Promise<string> {
      const quick = await ctx.task(work, 'add', [40, 2]).result()
      ctx.state.sum = quick
      return ctx.task(work, 'hold', [folder, `held-${ctx.key}`]).result()
    },
  },
})
const light = agent('light', {
  durability: 'ephemeral',
  state: () => null,
  on: { add: async (ctx, [a, b]: [number, number]) => (await ctx.task(work, 'add', [a, b]).result()) + 1 },
})

const tasks = (node: TestNode) => [...node.core.kernel.all()].filter(({ kind }) => kind === 'task')

test('[U1] a function runs on a thread with copies of its arguments, and its result comes back', async () => {
  const node = await world.node('a', [boss, light])
  expect(await node.call(node.ref(boss, 'b').rank())).toBe('ccc4,bb3,a2')
  expect(await node.call(node.ref(boss, 'b').echo())).toBe(5)
  expect(await node.call(node.ref(boss, 'b').later())).toBe(2)
  expect(await node.call(node.ref(light, 'l').add([1, 2]))).toBe(4)
  expect(node.core.compute.stats).toMatchObject({ done: 4, failed: 0, busy: 0, queued: 0 })
})

test('[U1] a replay is handed the result and starts nothing; what has none begins anew', async () => {
  const node = await world.node('a', [boss])
  node
    .ref(boss, 'b')
    .held(gate.folder)
    .run()
    .catch(() => {}) // its node is killed: nobody answers
  await world.until(() => gate.begun().length === 1)
  expect(node.core.compute.stats.done).toBe(1)
  node.kill()
  await node.core.compute.close()
  gate.open()
  const next = await world.node('b', [boss])
  await world.until(async () => JSON.stringify(await next.stored('boss/b')).includes('"sum":42'))
  expect(next.core.compute.stats.done).toBe(1)
})

test('[E10] in a sandbox copy no thread is asked: an operator gives what a task or a model would answer', async () => {
  const node = await world.node('a', [curious])
  await node.call(node.ref(curious, 'c').note('before'))
  await world.run(node.control.fork('curious/c', { actor: 'operator:ana' }))
  const answered = node.ref(curious, 'c~1').ask().run()
  const wait = () => node.core.kernel.find('curious/c~1')?.wait
  for (const [target, progress, value] of [
    ['task add', '[40,2]', 7],
    ['infer sizes', '{"text":"a"}', { length: 9 }],
  ] as const) {
    await world.until(() => wait()?.target === target)
    expect(wait()).toMatchObject({ kind: 'sandbox', progress })
    await world.run(node.control.answer('curious/c~1', { value }, { actor: 'operator:ana' }))
  }
  expect(await world.run(answered)).toBe('7 9')
  expect(node.core.compute.stats.threads).toBe(0)
})

test('[U7] the pool is a service that says what its threads do', async () => {
  const node = await world.node('a', [boss], { compute: { threads: 1, memoryMb: 64, queueMax: 9 } })
  const inspect = new RuntimeInspect(node.core)
  const state = async () => (await inspect.state('vivarium/compute')).value
  const none = { threads: 0, busy: 0, queued: 0, done: 0, failed: 0, terminated: 0 }
  expect(await state()).toEqual({ ...none, threadsMax: 1, memoryMb: 64, queueMax: 9 })
  const both = ['b', 'c'].map((key) => node.ref(boss, key).held(gate.folder).run())
  await world.until(() => gate.begun().length === 1 && node.core.compute.stats.queued === 1)
  expect(await state()).toMatchObject({ threads: 1, busy: 1, queued: 1 })
  gate.open()
  await world.run(Promise.all(both))
  expect(await state()).toMatchObject({ threads: 1, busy: 0, queued: 0, done: 4 })
  expect((await inspect.processes({ q: 'kind:service id:*compute' })).items).toHaveLength(1)
  inspect.close()
})

test('[U2] while it waits or runs it is a task below its owner, and its wait says which', async () => {
  const node = await world.node('a', [boss], { compute: { threads: 1 } })
  const both = ['b', 'c'].map((key) => node.ref(boss, key).held(gate.folder).run())
  await world.until(() => gate.begun().length === 1 && node.core.compute.stats.queued === 1)
  const shown = tasks(node).map(({ wait, parent }) => `${wait?.kind} ${wait?.target} ${parent?.id.slice(0, 5)}`)
  expect(shown.sort()).toEqual(['compute compute-work.ts hold boss/', 'thread compute-work.ts hold boss/'])
  gate.open()
  expect((await world.run(Promise.all(both))).sort()).toEqual(['held-b', 'held-c'])
  expect(tasks(node)).toEqual([])
})

const mean = agent('mean', {
  state: () => ({ heard: '' }),
  on: {
    async lie(ctx) {
      return failed(ctx.task(work, 'lie', []).result())
    },
    async odd(ctx) {
      return String(given(() => ctx.task(work, 'echo', [new Map([['f', (() => 1) as never]])])))
    },
    async option(ctx) {
      return String(given(() => ctx.task(work, 'nothing', [], { heartbeatMs: 5 } as object)))
    },
    async tries(ctx) {
      return failed(ctx.task(work, 'exit', [], { retry: { max: 2, initialMs: 1 } }).result())
    },
    async final(ctx) {
      return failed(ctx.task(work, 'fail', [], { retry: { max: 5 } }).result())
    },
    async spin(ctx, folder: string) {
      return failed(ctx.task(work, 'spin', [folder, 'spin']).result())
    },
    async limited(ctx, folder: string) {
      return failed(ctx.task(work, 'spin', [folder, 'limited'], { timeoutMs: 300 }).result())
    },
    async leave(ctx, folder: string) {
      ctx.task(work, 'spin', [folder, 'leave'])
      await ctx.task(work, 'add', [1, 1]).result()
      return 'over'
    },
    async parallel(ctx) {
      const all = [1, 2, 3].map((n) => ctx.task(work, 'add', [n, n], { key: `${n}` }).result())
      return (await Promise.all(all)).join()
    },
  },
})
const sizes = model<typeof import('../support/compute-model.ts')>('sizes', {
  module: new URL('../support/compute-model.ts', import.meta.url),
})
const curious = agent('curious', {
  state: () => ({ notes: [] as string[] }),
  on: {
    note: (ctx, text: string) => void ctx.state.notes.push(text),
    async ask(ctx) {
      const sum = await ctx.task(work, 'add', [40, 2]).result()
      return `${sum} ${(await ctx.infer(sizes, { text: 'a' })).length}`
    },
  },
})
const swift = agent('swift', {
  durability: 'ephemeral',
  state: () => null,
  on: {
    spin: (ctx, folder: string) => ctx.task(work, 'spin', [folder, 'spin']).result(),
    tries: async (ctx) => failed(ctx.task(work, 'exit', [], { retry: { max: 2, initialMs: 1 } }).result()),
  },
})

function given(ask: () => unknown): unknown {
  try {
    return ask()
  } catch (error) {
    return error
  }
}

async function failed(result: Promise<unknown>): Promise<string> {
  const error = (await result.then(
    () => new Error('it worked'),
    (thrown: unknown) => thrown,
  )) as Error
  const cause = error.cause as { code?: string; detail?: { original?: string } } | undefined
  return `${cause?.detail?.original ?? cause?.code ?? ''} ${error.message}`
}

test('[U1] what is no plain value is refused with its path: an argument at once, a result later', async () => {
  const node = await world.node('a', [mean])
  expect(await node.call(node.ref(mean, 'm').odd())).toContain('Value at $[0].f is a function')
  expect(await node.call(node.ref(mean, 'm').lie())).toMatch(
    /^VALUE_UNSUPPORTED Step task:lie failed after 1 attempt.*\$\.model/,
  )
  expect(await node.call(node.ref(mean, 'm').option())).toContain('Option heartbeatMs of task nothing')
  expect(await node.call(node.ref(mean, 'm').parallel())).toBe('2,4,6')
})

test('[U4] the end of its turn and its time limit end a task, in the middle of a loop too', async () => {
  const node = await world.node('a', [mean], { compute: { threads: 2 } })
  expect(await node.call(node.ref(mean, 'm').leave(gate.folder))).toBe('over')
  await world.until(() => node.core.compute.stats.busy === 0)
  expect(await node.call(node.ref(mean, 'm').limited(gate.folder))).toContain('STEP_TIMEOUT')
  await world.until(() => node.core.compute.stats.busy === 0)
  expect(node.core.compute.stats.terminated).toBe(2)
  expect(tasks(node)).toEqual([])
})

test('[U4] a kill of the task by an operator ends it and is its owner`s to handle', async () => {
  const node = await world.node('a', [mean])
  const answer = node.ref(mean, 'm').spin(gate.folder).run()
  await world.until(() => gate.begun().length === 1)
  const task = tasks(node)[0]
  if (task === undefined) expect.fail('no task is there')
  await world.run(node.control.kill(task.id, { actor: 'operator:ana' }))
  expect(await world.run(answer)).toMatch(/^TASK_FAILED .*killed/)
  await world.until(() => node.core.compute.stats.threads === 0)
})

test('[U4] a stop of the runtime ends all threads; the turn goes on elsewhere', async () => {
  const node = await world.node('a', [boss, swift], { drainMs: 50, compute: { threads: 2 } })
  const ends = [node.ref(boss, 'b').held(gate.folder), node.ref(swift, 's').spin(gate.folder)].map((call) =>
    call.run().catch((error: unknown) => error),
  )
  await world.until(() => gate.begun().length === 2)
  await node.stop()
  expect(node.core.compute.stats).toMatchObject({ threads: 0, busy: 0, queued: 0 })
  await Promise.all(ends)
  gate.open()
  const next = await world.node('b', [boss])
  await world.until(async () => JSON.stringify(await next.stored('boss/b')).includes('"sum":42'))
})

test('[U5] a failure is the cause of the step`s, and follows its policy', async () => {
  const node = await world.node('a', [mean, swift])
  const twice = /^THREAD_ENDED .* failed after 2 attempts: exit of compute-work.ts ended its thread/
  expect(await node.call(node.ref(mean, 'm').tries())).toMatch(twice)
  expect(await node.call(node.ref(swift, 's').tries())).toMatch(twice)
  expect(await node.call(node.ref(mean, 'm').final())).toMatch(/^E_SINGULAR .* failed after 1 attempt: the matrix/)
})
