/** Calls and sends: outcomes, timeouts, cycles, copies, deferred replies. */
import { describe, expect, test } from 'vitest'
import type { ReplyTo } from '../../server/kernel/envelope.ts'
import { NO_REPLY } from '../../server/kernel/ephemeral.ts'
import { statusOf } from '../../server/kernel/row.ts'
import { RuntimeError } from '../../shared/error.ts'
import { Bench, type Ctx, codeOf, found, thrownCode } from '../support/kernel-bench.ts'

const boom = (): never => {
  throw new Error('boom')
}

describe('copies', () => {
  test('[K14] messages never alias the objects of the sender', async () => {
    const bench = new Bench()
    const kept: { list: number[]; bytes: Uint8Array }[] = []
    bench.spawn('a/1', { on: { keep: (_ctx, item) => void kept.push(item) } })
    const mine = { list: [1], bytes: new Uint8Array([1]) }
    bench.send('a/1', 'keep', mine)
    const process = bench.get('a/1')
    bench.kernel.after(process, 0, 'keep', mine)
    bench.kernel.subscribe(process, 't', 'keep')
    bench.kernel.subscribe(process, 't', 'keep')
    bench.kernel.publish('t', mine)
    const called = bench.kernel.call(null, 'a/1', 'keep', mine)
    mine.list.push(2)
    mine.bytes[0] = 9
    await called
    await bench.clock.advance(1)
    expect(kept.map((item) => [item.list, item.bytes[0]])).toEqual(kept.map(() => [[1], 1]))
    expect(new Set(kept.map((item) => item.bytes)).size).toBe(5)
  })

  test('[K14] what cannot be copied is refused with its path, before anything is sent', () => {
    const bench = new Bench()
    bench.spawn('a/1')
    expect(thrownCode(() => bench.send('a/1', 'x', { deep: [() => 1] }))).toBe('VALUE_UNSUPPORTED')
    try {
      bench.kernel.call(null, 'a/1', 'x', { deep: [new Map([[1, 2]])] })
    } catch (error) {
      expect((error as RuntimeError).detail['path']).toBe('$.deep[0]')
    }
    expect(bench.get('a/1').mailboxLength).toBe(0)
  })

  test('[K14] an ephemeral agent may build a message into its state and change it', async () => {
    const bench = new Bench()
    bench.spawn('a/1', {
      on: {
        add: (ctx, item) => {
          ctx.state['item'] = item
        },
        up: (ctx) => {
          const item = ctx.state['item'] as { n: number }
          item.n += 1
          return item
        },
      },
    })
    bench.send('a/1', 'add', { n: 1 })
    const first = (await bench.kernel.call(null, 'a/1', 'up', null)) as { n: number }
    const second = (await bench.kernel.call(null, 'a/1', 'up', null)) as { n: number }
    expect([first, second]).toEqual([{ n: 2 }, { n: 3 }])
  })

  test('[K15] nothing is answered as null; a result that cannot be copied crashes the agent', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { none: () => undefined, bad: () => new WeakMap() } })
    expect(await bench.kernel.call(null, 'a/1', 'none', null)).toBeNull()
    expect(await codeOf(bench.kernel.call(null, 'a/1', 'bad', null))).toBe('PROCESS_EXITED')
    expect(process.alive).toBe(false)
  })
})

describe('outcomes', () => {
  test('[K16] a rejection is an answer, any other throw a crash that the caller sees', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', {
      on: {
        no: () => Promise.reject(new RuntimeError('CALL_REJECTED', 'sold out')),
        crash: boom,
      },
    })
    expect(await codeOf(bench.kernel.call(null, 'a/1', 'no', null))).toBe('CALL_REJECTED')
    expect(process.alive).toBe(true)
    expect(await codeOf(bench.kernel.call(null, 'a/1', 'crash', null))).toBe('PROCESS_EXITED')
    expect(process.alive).toBe(false)
  })

  test('[K17] an operation nobody defined fails the call and leaves the agent alone', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { hi: () => 1 } })
    expect(await codeOf(bench.kernel.call(null, 'a/1', 'constructor', null))).toBe('OPERATION_UNKNOWN')
    bench.send('a/1', 'nope')
    await bench.settle()
    expect([process.alive, process.stats.dropped]).toEqual([true, 1])
  })

  test('[K18] a deferred reply comes from anywhere later, twice does no harm, and fails with the agent', async () => {
    const bench = new Bench()
    const waiting: (ReplyTo | null)[] = []
    const process = bench.spawn('a/1', {
      on: {
        later: (ctx) => {
          waiting.push(ctx.kernel.defer(ctx.process))
          return NO_REPLY
        },
        hi: () => 'hi',
      },
    })
    const first = bench.kernel.call(null, 'a/1', 'later', null)
    const second = codeOf(bench.kernel.call(null, 'a/1', 'later', null))
    expect(await bench.kernel.call(null, 'a/1', 'hi', null)).toBe('hi')
    found(waiting[0]).resolve('answer')
    found(waiting[0]).resolve('again')
    expect(await first).toBe('answer')
    bench.kernel.kill(process, { redeliver: false })
    expect(await second).toBe('PROCESS_EXITED')
  })

  test('[K19] a query reads the state while a turn is open', async () => {
    const bench = new Bench()
    const behaviour = bench.behaviour({
      on: { hold: () => new Promise(() => {}) },
      queries: { n: (state) => state['n'] },
      init: () => ({ n: 5 }),
    })
    const process = bench.spawn('a/1', behaviour)
    bench.send('a/1', 'hold')
    await bench.settle()
    expect(behaviour.query(process, 'n', null)).toBe(5)
    expect(thrownCode(() => behaviour.query(process, 'x', null))).toBe('OPERATION_UNKNOWN')
  })

  test('[K20, K22] after a timeout no late reply is seen; the request is executed all the same', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { add: (ctx) => ctx.log.push('done') } })
    bench.kernel.suspend(process)
    const outcomes: string[] = []
    const call = bench.kernel.call(null, 'a/1', 'add', null, { timeoutMs: 100 })
    call.then(
      () => outcomes.push('reply'),
      (error: RuntimeError) => outcomes.push(error.code),
    )
    await bench.clock.advance(99)
    expect(outcomes).toEqual([])
    await bench.clock.advance(1)
    expect(outcomes).toEqual(['CALL_TIMEOUT'])
    bench.kernel.resume(process)
    await bench.settle()
    expect([outcomes, bench.log]).toEqual([['CALL_TIMEOUT'], ['done']])
  })

  test('[K20] the default patience is 5 s; calls of many patiences time out each at its time', async () => {
    const bench = new Bench()
    bench.kernel.suspend(bench.spawn('a/1'))
    const at: Record<string, number> = {}
    const start = bench.clock.now()
    for (const timeoutMs of [undefined, 10, 300, 10, 7_000]) {
      const options = timeoutMs === undefined ? {} : { timeoutMs }
      void bench.kernel.call(null, 'a/1', 'x', null, options).catch(() => {
        at[`${timeoutMs}`] = bench.clock.now() - start
      })
      await bench.clock.advance(1)
    }
    await bench.clock.advance(8_000)
    expect(at).toEqual({ undefined: 5_000, 10: 13, 300: 302, 7000: 7_004 })
    expect(thrownCode(() => bench.kernel.call(null, 'a/1', 'x', null, { timeoutMs: 0 }))).toBe('REQUEST_INVALID')
  })

  test('[K20] a call made inside a turn is never dated too early, however long the turn blocked', async () => {
    const bench = new Bench()
    bench.kernel.suspend(bench.spawn('a/2'))
    let calledAt = 0
    let endedAt = 0
    bench.spawn('a/1', {
      on: {
        go: (ctx) => {
          bench.clock.jump(3_000) // the handler computes for three seconds, then calls
          calledAt = bench.clock.now()
          void ctx.kernel.call(ctx.process, 'a/2', 'x', null, { timeoutMs: 1_000 }).catch(() => {
            endedAt = bench.clock.now()
          })
        },
      },
    })
    bench.send('a/1', 'go')
    await bench.settle()
    await bench.clock.advance(5_000)
    expect(endedAt - calledAt).toBeGreaterThanOrEqual(1_000)
  })

  test('[K21] a call to oneself or up the chain fails at once', async () => {
    const bench = new Bench()
    const relay = (next: string) => (ctx: Ctx) =>
      codeOf(Promise.resolve().then(() => ctx.kernel.call(ctx.process, next, 'go', null)))
    bench.spawn('a/1', { on: { go: (ctx) => ctx.kernel.call(ctx.process, 'a/2', 'go', null), me: relay('a/1') } })
    bench.spawn('a/2', { on: { go: relay('a/1') } })
    expect(await bench.kernel.call(null, 'a/1', 'me', null)).toBe('CALL_CYCLE')
    expect(await bench.kernel.call(null, 'a/1', 'go', null)).toBe('CALL_CYCLE')
  })

  test('[K23] calls in hand, in the queue and to the dead fail when the target dies', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { hold: () => new Promise(() => {}) } })
    const calls = [1, 2, 3].map(() => codeOf(bench.kernel.call(null, 'a/1', 'hold', null)))
    await bench.settle()
    bench.kernel.kill(process, { redeliver: false })
    expect(await Promise.all(calls)).toEqual(['PROCESS_EXITED', 'PROCESS_EXITED', 'PROCESS_EXITED'])
  })

  test('[K24] a caller that waits shows for what, until when; the wait ends with the call', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    bench.spawn('a/2', { on: { hold: () => gate.promise } })
    const caller = bench.spawn('a/1', { on: { go: (ctx) => ctx.kernel.call(ctx.process, 'a/2', 'hold', null) } })
    const call = bench.kernel.call(null, 'a/1', 'go', null)
    await bench.settle()
    const now = bench.clock.now()
    expect(caller.wait).toEqual({ kind: 'call', target: 'a/2 hold', since: now, deadline: now + 5_000, attempt: 1 })
    expect(statusOf(caller)).toBe('waiting')
    gate.resolve()
    await call
    expect(caller.wait).toBeNull()
  })
})
