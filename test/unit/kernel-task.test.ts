/** Tasks and streams of tasks. */
import { describe, expect, test } from 'vitest'
import { exitText } from '../../server/kernel/exit.ts'
import { Task, type TaskResult, taskStream } from '../../server/kernel/task.ts'
import { Bench, codeOf, found } from '../support/kernel-bench.ts'

const never = (): Promise<never> => new Promise(() => {})
const boom = (): never => {
  throw new Error('boom')
}

describe('tasks', () => {
  test('[K60] the result is a copy for its owner alone, handed out once', async () => {
    const bench = new Bench()
    const owner = bench.spawn('a/1')
    const stranger = bench.spawn('a/2')
    const mine = { list: [1] }
    const task = new Task(bench.kernel, owner, () => mine)
    expect(await codeOf(task.await(100, stranger))).toBe('REQUEST_INVALID')
    const result = await task.await()
    expect(result).toEqual(mine)
    expect(result).not.toBe(mine)
    expect(await codeOf(task.await())).toBe('REQUEST_INVALID')
    expect([task.process.alive, bench.kernel.find(task.process.id)]).toEqual([false, undefined])
  })

  test('[K61] a linked task and its owner die with each other', async () => {
    const bench = new Bench()
    const owner = bench.spawn('a/1')
    new Task(bench.kernel, owner, boom)
    await bench.settle()
    expect(exitText(found(owner.exit))).toContain('boom')
    const second = bench.spawn('a/2')
    const aborted: boolean[] = []
    const task = new Task(bench.kernel, second, (signal) => {
      signal.addEventListener('abort', () => aborted.push(true))
      return never()
    })
    await bench.settle()
    expect(second.ties?.children?.size).toBe(1)
    bench.kernel.kill(second, { redeliver: false })
    await bench.settle()
    expect([task.process.alive, aborted]).toEqual([false, [true]])
  })

  test('[K61] an unlinked one tells of its crash only those who wait', async () => {
    const bench = new Bench()
    const owner = bench.spawn('a/1')
    const task = new Task(bench.kernel, owner, boom, { link: false })
    expect(await codeOf(task.await())).toBe('TASK_FAILED')
    expect(owner.alive).toBe(true)
  })

  test('[K62] await out of time gives the result up; yield may be repeated', async () => {
    const bench = new Bench()
    const owner = bench.spawn('a/1')
    const gate = Promise.withResolvers<string>()
    const patient = new Task(bench.kernel, owner, () => gate.promise)
    const first = patient.yield(10)
    await bench.clock.advance(5)
    expect(owner.wait).toMatchObject({ kind: 'task', target: patient.process.id })
    await bench.clock.advance(5)
    expect([await first, owner.wait]).toEqual([null, null])
    const hasty = new Task(bench.kernel, owner, never)
    const awaited = codeOf(hasty.await(10))
    await bench.clock.advance(10)
    expect([await awaited, hasty.process.alive]).toEqual(['AWAIT_TIMEOUT', true])
    gate.resolve('late')
    expect(await patient.yield(10)).toEqual({ kind: 'ok', value: 'late' })
  })

  test('[K62] shutdown ends the task without hurting its owner; a result that made it is handed out', async () => {
    const bench = new Bench()
    const owner = bench.spawn('a/1')
    const running = new Task(bench.kernel, owner, never)
    const done = new Task(bench.kernel, owner, () => 7)
    await bench.settle()
    expect([await running.shutdown(), await done.shutdown('kill')]).toEqual([null, { kind: 'ok', value: 7 }])
    expect([running.process.alive, owner.alive]).toEqual([false, true])
  })
})

describe('streams', () => {
  const collect = async (stream: AsyncIterable<TaskResult>): Promise<unknown[]> => {
    const results: unknown[] = []
    for await (const result of stream) results.push(result.kind === 'ok' ? result.value : exitText(result.reason))
    return results
  }

  test('[K63] at most maxConcurrency at once, in order, or in order of completion', async () => {
    const bench = new Bench()
    let open = 0
    let most = 0
    const wait = async (ms: number): Promise<number> => {
      open += 1
      most = Math.max(most, open)
      await new Promise<void>((resolve) => bench.clock.after(ms, resolve))
      open -= 1
      return ms
    }
    const ordered = collect(taskStream(bench.kernel, null, [30, 10, 20, 5], wait, { maxConcurrency: 2 }))
    await bench.clock.advance(200)
    expect([await ordered, most]).toEqual([[30, 10, 20, 5], 2])
    const unordered = collect(taskStream(bench.kernel, null, [30, 10, 20], wait, { maxConcurrency: 3, ordered: false }))
    await bench.clock.advance(200)
    expect(await unordered).toEqual([10, 20, 30])
  })

  test('[K63] leaving early ends what still runs; a timeout ends the stream or only the task', async () => {
    const bench = new Bench()
    const fn = (item: number) => (item === 1 ? 1 : never())
    for await (const result of taskStream(bench.kernel, null, [1, 2, 3], fn, { maxConcurrency: 3 })) {
      expect(result).toEqual({ kind: 'ok', value: 1 })
      break
    }
    await bench.settle()
    expect(bench.kernel.size).toBe(0)
    const kill = collect(taskStream(bench.kernel, null, [2, 1], fn, { timeoutMs: 50, onTimeout: 'kill' }))
    await bench.clock.advance(50)
    expect(await kill).toEqual([expect.stringContaining('AWAIT_TIMEOUT'), 1])
    const exit = codeOf(collect(taskStream(bench.kernel, null, [2, 1], fn, { timeoutMs: 50 })))
    await bench.clock.advance(50)
    expect([await exit, bench.kernel.size]).toEqual(['AWAIT_TIMEOUT', 0])
  })
})
