/** The pool of threads by itself: how many there are, what waits, what ends, what goes wrong. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { computePlan } from '../../server/compute/option.ts'
import { ComputePool, IDLE_MS } from '../../server/compute/pool.ts'
import type { ErrorData } from '../../shared/error.ts'
import { errorData } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import { Gate } from '../support/compute-gate.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const WORK = new URL('../support/compute-work.ts', import.meta.url).href

type Asked = { owner?: string; url?: string; signal?: AbortSignal; started?: () => void }

let clock: VirtualClock
let pool: ComputePool
let gate: Gate
let complaints: string[]
beforeEach(() => {
  clock = new VirtualClock()
  gate = new Gate()
  complaints = []
  pool = poolOf({ threads: 1 })
})
afterEach(async () => {
  await pool.close()
  gate.remove()
})

function poolOf(options: Parameters<typeof computePlan>[0]): ComputePool {
  return new ComputePool(computePlan(options), clock, (what, error) => void complaints.push(`${what}: ${error}`))
}

function run(name: string, args: Value[] = [], asked: Asked = {}): Promise<Value> {
  const rest = { owner: 'agent/one', url: WORK, signal: new AbortController().signal, started: () => {}, ...asked }
  return pool.run({ name, args, ...rest })
}

async function failure(result: Promise<unknown>): Promise<ErrorData> {
  return errorData(
    await result.then(
      (value) => expect.fail(`resolved with ${String(value)}`),
      (error) => error,
    ),
  )
}

const until = (holds: () => boolean) => vi.waitFor(() => expect(holds()).toBe(true), { timeout: 20_000, interval: 2 })

// Bounds

test('[U3] there is no thread before the first task, and no more than the option says', async () => {
  pool = poolOf({ threads: 2 })
  expect(pool.stats).toMatchObject({ threads: 0, busy: 0, queued: 0 })
  const all = ['a', 'b', 'c'].map((name) => run('hold', [gate.folder, name]))
  expect(pool.stats).toMatchObject({ threads: 2, busy: 2, queued: 1 })
  await until(() => gate.begun().length === 2)
  expect(gate.begun()).toEqual(['a', 'b'])
  gate.open()
  expect(await Promise.all(all)).toEqual(['a', 'b', 'c'])
  expect(pool.stats).toMatchObject({ threads: 2, busy: 0, queued: 0, done: 3 })
})

test('[U3] what waits is begun in its order, on a thread that is warm', async () => {
  const order: string[] = []
  const all = ['a', 'b', 'c'].map((name) => run('place', [], { started: () => void order.push(name) }))
  expect(order).toEqual(['a'])
  const places = (await Promise.all(all)) as { thread: number; calls: number }[]
  expect(order).toEqual(['a', 'b', 'c'])
  expect(places.map(({ calls }) => calls)).toEqual([1, 2, 3])
  expect(new Set(places.map(({ thread }) => thread)).size).toBe(1)
})

test('[U3] agents take turns: one that asks for much does not keep another waiting for all of it', async () => {
  const order: string[] = []
  const asked = (owner: string, n: number) =>
    run('nothing', [], { owner, started: () => void order.push(`${owner}${n}`) })
  const all = [1, 2, 3].map((n) => asked('a', n))
  all.push(asked('b', 1), asked('c', 1), asked('b', 2))
  await Promise.all(all)
  expect(order).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2'])
})

test('[U3] more than may wait is refused with the numbers, and what was there is not touched', async () => {
  pool = poolOf({ threads: 1, queueMax: 1 })
  const all = ['a', 'b'].map((name) => run('hold', [gate.folder, name]))
  const refused = await failure(run('add', [1, 2]))
  expect(refused).toMatchObject({ code: 'OVERLOADED' })
  expect(refused.message).toBe('1 threads are busy and 1 tasks wait for one, which is the limit: add was not begun.')
  gate.open()
  expect(await Promise.all(all)).toEqual(['a', 'b'])
  expect(await run('add', [1, 2])).toBe(3)
})

test('[U3] a thread that is idle for long enough ends, one that is used again does not', async () => {
  await run('nothing')
  await clock.advance(IDLE_MS - 1)
  await run('nothing')
  await clock.advance(IDLE_MS - 1)
  expect(pool.stats.threads).toBe(1)
  await clock.advance(1)
  await until(() => pool.stats.threads === 0)
  expect(await run('add', [1, 2])).toBe(3)
})

test('[U3] options out of their bounds and unknown ones are refused with the bounds', () => {
  expect(computePlan()).toMatchObject({ memoryMb: 512, queueMax: 10_000 })
  expect(computePlan().threads).toBeGreaterThanOrEqual(1)
  expect(() => computePlan({ threads: 0 })).toThrow('Option compute.threads is 0; it must be a whole number from 1 to')
  expect(() => computePlan({ memoryMb: 1.5 })).toThrow('compute.memoryMb is 1.5')
  expect(() => computePlan({ queueMax: -1 })).toThrow('compute.queueMax is -1')
  expect(() => computePlan({ theads: 2 } as object)).toThrow(
    'compute.theads is unknown; use threads, memoryMb, queueMax',
  )
})

// Ends

test('[U4] a task that waits leaves the queue when it is aborted, and nothing else changes', async () => {
  const first = run('hold', [gate.folder, 'a'])
  const abort = new AbortController()
  const second = failure(run('hold', [gate.folder, 'b'], { signal: abort.signal }))
  const third = run('hold', [gate.folder, 'c'])
  abort.abort(new Error('not wanted'))
  expect((await second).message).toBe('not wanted')
  gate.open()
  expect(await Promise.all([first, third])).toEqual(['a', 'c'])
  expect(gate.begun()).toEqual(['a', 'c'])
  expect(pool.stats).toMatchObject({ threads: 1, terminated: 0 })
})

test('[U4] code in an endless loop is ended by its abort, and the next task gets a thread of its own', async () => {
  const abort = new AbortController()
  const spinning = failure(run('spin', [gate.folder, 'a'], { signal: abort.signal }))
  const next = run('place')
  await until(() => gate.begun().length === 1)
  expect(pool.stats).toMatchObject({ threads: 1, busy: 1, queued: 1 })
  abort.abort(new Error('enough'))
  expect((await spinning).message).toBe('enough')
  expect(await next).toMatchObject({ calls: 1 })
  expect(pool.stats).toMatchObject({ threads: 1, busy: 0, queued: 0, terminated: 1 })
})

test('[U4] one that was aborted before is not begun', async () => {
  const begun = vi.fn()
  const late = run('nothing', [], { signal: AbortSignal.abort('too late'), started: begun })
  expect((await failure(late)).message).toBe('too late')
  expect(begun).not.toHaveBeenCalled()
  expect(pool.stats.threads).toBe(0)
})

test('[U4] closing ends what runs and what waits, and leaves nothing that keeps a program alive', async () => {
  const held = (): string[] => process.getActiveResourcesInfo().filter((name) => /MessagePort|Worker/.test(name))
  const before = held()
  await run('nothing')
  const all = ['spin', 'hold'].map((name) => failure(run(name, [gate.folder, name])))
  await until(() => gate.begun().length === 1)
  await pool.close()
  expect((await Promise.all(all)).map(({ code }) => code)).toEqual(['RUNTIME_STOPPED', 'RUNTIME_STOPPED'])
  expect(pool.stats).toMatchObject({ threads: 0, busy: 0, queued: 0 })
  expect(await failure(run('nothing'))).toMatchObject({ code: 'RUNTIME_STOPPED' })
  await until(() => held().length <= before.length)
  expect(clock.armed).toBe(0)
})

// Failures

test('[U5] a module that is not there, and one that throws while it loads, name the module and the cause', async () => {
  const missing = await failure(run('add', [], { url: WORK.replace('compute-work', 'no-such-file') }))
  expect(missing).toMatchObject({ code: 'MODULE_LOAD_FAILED', cause: { code: 'ERR_MODULE_NOT_FOUND' } })
  expect(missing.message).toContain('no-such-file.ts could not be loaded')
  const broken = await failure(run('run', [], { url: WORK.replace('compute-work', 'compute-broken') }))
  expect(broken).toMatchObject({ code: 'MODULE_LOAD_FAILED', cause: { name: 'TypeError', message: 'no weights here' } })
  expect(await run('add', [1, 2])).toBe(3)
})

test('[U5] an export that is missing or no function says what there is', async () => {
  const missing = await failure(run('scroe'))
  expect(missing).toMatchObject({ code: 'EXPORT_MISSING' })
  expect(missing.message).toMatch(/scroe of file:.*compute-work\.ts is not exported\. Its functions: .*score/)
  expect((await failure(run('VERSION'))).message).toContain('is no function but string')
  expect((await failure(run('toString'))).message).toContain('is not exported')
})

test('[U5] what the function throws arrives with name, message, code, stack, cause and retry advice', async () => {
  const error = (await run('fail').catch((thrown: unknown) => thrown)) as Error & { retryable?: boolean }
  expect(errorData(error)).toMatchObject({
    ...{ name: 'RangeError', code: 'E_SINGULAR', message: 'the matrix is singular' },
    cause: { message: 'row 3 is row 1' },
  })
  expect(error.stack).toContain('compute-work.ts')
  expect(error.retryable).toBe(false)
  expect(pool.stats).toMatchObject({ threads: 1, failed: 1 })
})

test('[U5] a result that is no plain value is refused with its path, one that is too large with its size', async () => {
  const refused = await failure(run('lie'))
  expect(refused.code).toBe('VALUE_UNSUPPORTED')
  expect(refused.message).toMatch(/lie of file:.* returned what cannot be handed over: Value at \$\.model is a Model/)
  const large = await failure(run('large', [16_777_216]))
  expect(large.code).toBe('VALUE_TOO_LARGE')
  expect(large.message).toContain('a result of 16777218 characters; at most 16777216')
  const args = await failure(run('echo', ['x'.repeat(16_777_216)]))
  expect(args.message).toContain('The arguments of echo have 16777220 characters; at most 16777216')
})

test('[U5] process.exit and an error that nobody catches end that thread and that task alone', async () => {
  const exited = failure(run('exit'))
  const after = run('add', [1, 2])
  expect(await exited).toMatchObject({ code: 'THREAD_ENDED' })
  expect((await exited).message).toBe('exit of compute-work.ts ended its thread with process.exit(3).')
  expect(await after).toBe(3)
  const forgot = await failure(run('forget'))
  expect(forgot).toMatchObject({ code: 'THREAD_ENDED', cause: { message: 'nobody looks' } })
  expect(forgot.message).toBe('forget of compute-work.ts left an error that nobody caught: nobody looks.')
  expect(await run('place')).toMatchObject({ calls: 1 })
  expect(complaints).toEqual([])
})

test.each([
  ['throw', 'Error: left behind'],
  ['exit', 'RuntimeError: process.exit(5) after the end of its task'],
])(
  '[U5] what a task leaves behind (%s) is reported and not charged to the task that comes after it',
  async (how, error) => {
    expect(await run('leave', [gate.folder, how])).toBe('left')
    const { thread } = (await run('place')) as { thread: number }
    const next = run('pause', [gate.folder, 'next'])
    await until(() => gate.begun().length === 1)
    gate.open()
    expect(await next).toBe('next')
    expect(complaints).toEqual([`code of a compute task that was over: ${error}`])
    expect(await run('place')).not.toMatchObject({ thread })
  },
)

// Memory

test('[U6] a thread that runs out of memory fails its task, and the next one works', async () => {
  pool = poolOf({ threads: 1, memoryMb: 32 })
  const grown = failure(run('grow'))
  const after = run('add', [1, 2])
  expect(await grown).toMatchObject({ code: 'OUT_OF_MEMORY' })
  expect((await grown).message).toBe('grow of compute-work.ts used up the 32 MiB of heap that a thread has.')
  expect(await after).toBe(3)
})
