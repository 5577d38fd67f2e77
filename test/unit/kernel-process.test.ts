/** Life of a process: birth, turns, stop, death, suspension, mailbox limits, durable redelivery. */
import { describe, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { NO_LINEAGE } from '../../server/kernel/envelope.ts'
import { exitText, KILLED, NORMAL, SHUTDOWN, shutdown } from '../../server/kernel/exit.ts'
import type { Behaviour, Process } from '../../server/kernel/process.ts'
import { statusOf } from '../../server/kernel/row.ts'
import { RunQueue } from '../../server/kernel/run-queue.ts'
import { supervisorProcess } from '../../server/kernel/supervisor-process.ts'
import { Bench, codeOf, found, thrownCode } from '../support/kernel-bench.ts'

const boom = (): never => {
  throw new Error('boom')
}

describe('birth', () => {
  test('[K4] start is over when init is: messages sent meanwhile wait', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const process = bench.spawn('a/1', { activated: () => gate.promise, on: { hi: (ctx) => ctx.log.push('hi') } })
    bench.send('a/1', 'hi')
    await bench.settle()
    expect([process.status, bench.log]).toEqual(['starting', []])
    gate.resolve()
    await bench.kernel.started(process)
    await bench.settle()
    expect([process.status, bench.log]).toEqual(['idle', ['hi']])
  })

  test('[K4] a failed init frees its names before the error is seen and leaves nothing', () => {
    const bench = new Bench()
    const bad = bench.behaviour({
      activated: (ctx) => {
        ctx.kernel.register(ctx.process, 'name')
        boom()
      },
    })
    for (let i = 0; i < 100; i++) {
      expect(thrownCode(() => bench.spawn('a/1', bad))).toBe('CHILD_START_FAILED')
      expect(bench.kernel.whereis('name')).toBeNull()
      expect(bench.kernel.find('a/1')).toBeUndefined()
    }
  })

  test('[K4] an asynchronous init that throws or takes too long rejects started()', async () => {
    const bench = new Bench()
    const never = { activated: () => new Promise<void>(() => {}) }
    const slow = bench.spawn('a/1', never, { startTimeoutMs: 100 })
    const failed = codeOf(bench.kernel.started(slow))
    await bench.clock.advance(100)
    expect([await failed, exitText(found(slow.exit))]).toEqual(['CHILD_START_FAILED', 'killed'])
    const broken = bench.spawn('a/2', { activated: () => Promise.reject(new Error('no')) })
    expect(await codeOf(bench.kernel.started(broken))).toBe('CHILD_START_FAILED')
  })

  test('[K6] an id that is alive cannot be born again; a later life has a higher incarnation', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a')])
    expect(thrownCode(() => bench.spawn('c/a'))).toBe('CHILD_ALREADY_STARTED')
    const process = bench.get('c/a')
    bench.send('c/a', 'crash')
    await bench.settle()
    expect([bench.get('c/a') === process, process.incarnation, process.stats.restarts]).toEqual([true, 2, 1])
    expect(top.process.alive).toBe(true)
  })
})

describe('turns', () => {
  test('[K2] one turn at a time, in order of arrival', async () => {
    const bench = new Bench()
    let open = 0
    bench.spawn('a/1', {
      on: {
        async slow(ctx, n: number) {
          open += 1
          expect(open).toBe(1)
          await Promise.resolve()
          open -= 1
          ctx.log.push(`${n}`)
        },
      },
    })
    for (let i = 0; i < 5; i++) bench.send('a/1', 'slow', i)
    await bench.settle()
    expect(bench.log).toEqual(['0', '1', '2', '3', '4'])
  })

  test('[K2] what a killed incarnation still runs is ignored by the next one', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const input = { on: { hold: () => gate.promise, ping: () => 'pong' } }
    const top = await bench.supervisor([bench.child('a', {}, input)])
    const held = codeOf(bench.kernel.call(null, 'c/a', 'hold', null))
    await bench.settle()
    bench.kernel.kill(bench.get('c/a'), { redeliver: true })
    await bench.settle()
    expect(await held).toBe('PROCESS_EXITED')
    const turns = bench.get('c/a').stats.turns
    gate.resolve()
    await bench.settle()
    expect([bench.get('c/a').status, bench.get('c/a').stats.turns]).toEqual(['idle', turns])
    expect(await bench.kernel.call(null, 'c/a', 'ping', null)).toBe('pong')
    expect(top.process.alive).toBe(true)
  })

  test('[K9] an error outside a turn crashes that incarnation only', async () => {
    const bench = new Bench()
    await bench.supervisor([bench.child('a'), bench.child('b')])
    const process = bench.get('c/a')
    bench.kernel.crashProcess(process, new Error('floating'), 1)
    await bench.settle()
    expect([process.incarnation, bench.get('c/b').incarnation]).toEqual([2, 1])
    bench.kernel.crashProcess(process, new Error('late'), 1)
    await bench.settle()
    expect([process.incarnation, process.alive]).toEqual([2, true])
  })

  test('[K11] a flooded process leaves its neighbours their turns, and I/O is never starved', async () => {
    const bench = new Bench()
    bench.spawn('a/1', { on: { on: (ctx) => void ctx.log.push('a') } })
    bench.spawn('a/2', { on: { on: (ctx) => void ctx.log.push('b') } })
    for (let i = 0; i < 1_000; i++) bench.send('a/1', 'on')
    bench.send('a/2', 'on')
    await bench.settle()
    expect(bench.log.indexOf('b')).toBeLessThan(100)
    let running = true
    const again = (ctx: { kernel: typeof bench.kernel; process: { id: string } }): void => {
      if (running) ctx.kernel.send(ctx.process.id, 'again', null)
    }
    bench.spawn('a/3', { on: { again } })
    bench.send('a/3', 'again')
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    running = false
    await bench.settle()
    expect(bench.get('a/3').stats.turns).toBeGreaterThan(1_000)
  })

  test('[K11] an error nobody foresaw inside a slice does not stop the queue', async () => {
    const bench = new Bench()
    const tasks: (() => void)[] = []
    const clock = { ...realClock(), microtask: (fn: () => void) => void tasks.push(fn) }
    const slice = (process: Process): number => {
      if (process.id === 'a/1') boom()
      bench.log.push(process.id)
      return 0
    }
    const queue = new RunQueue(clock, slice, () => {})
    for (const id of ['a/1', 'a/2', 'a/3']) queue.push(bench.spawn(id))
    expect(() => tasks.shift()?.()).toThrow('boom')
    // The rest comes with the next microtask, or with the next macrotask when the period is over.
    while (queue.length > 0) {
      tasks.shift()?.()
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect([bench.log, queue.length]).toEqual([['a/2', 'a/3'], 0])
  })
})

describe('context', () => {
  test('[K26] code of a process runs in its context; a traced turn gets its own', async () => {
    const bench = new Bench()
    bench.unwatch('turn:start', 'turn:stop')
    const seen: (string | undefined)[] = []
    const look = (): void => void seen.push(bench.current.getStore()?.id)
    bench.spawn('a/1', { on: { look }, activated: look, terminate: look })
    bench.send('a/1', 'look')
    bench.send('a/1', 'look')
    await bench.settle()
    expect(bench.contexts.splice(0)).toEqual(['a/1 -', 'a/1 -'])
    const lineage = { ...NO_LINEAGE, traceparent: '00-1-1-01' }
    bench.kernel.send('a/1', 'look', null, { lineage })
    await bench.settle()
    expect(bench.contexts.splice(0)).toEqual(['a/1 -', 'a/1 look'])
    bench.tracing = true
    bench.send('a/1', 'look')
    await bench.settle()
    await bench.kernel.stop(bench.get('a/1'))
    expect(bench.contexts).toEqual(['a/1 look', 'a/1 -'])
    expect(seen).toEqual(Array.from({ length: 6 }, () => 'a/1'))
  })
})

describe('stop', () => {
  test('[K5] terminate runs on stop and on exit by itself, never on kill or crash', async () => {
    const bench = new Bench()
    const input = {
      terminate: (ctx: { process: { id: string } }) => void bench.log.push(ctx.process.id),
      on: { crash: boom },
    }
    for (const id of ['a/stop', 'a/kill', 'a/crash']) bench.spawn(id, input)
    const leaver = bench.spawn('a/leave', {
      ...input,
      on: { leave: (ctx) => ctx.kernel.exitSelf(ctx.process, shutdown('done')) },
    })
    await bench.kernel.stop(bench.get('a/stop'))
    bench.kernel.kill(bench.get('a/kill'), { redeliver: false })
    bench.send('a/crash', 'crash')
    bench.send('a/leave', 'leave')
    await bench.settle()
    expect(bench.log).toEqual(['a/stop', 'a/leave'])
    expect(exitText(found(leaver.exit))).toBe('shutdown: done')
  })

  test('[K5] the turn in hand finishes first; an error in terminate replaces the reason', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const process = bench.spawn('a/1', { on: { hold: () => gate.promise }, terminate: boom })
    const held = bench.kernel.call(null, 'a/1', 'hold', null)
    await bench.settle()
    const stopped = codeOf(bench.kernel.stop(process))
    await bench.settle()
    expect(process.alive).toBe(true)
    gate.resolve()
    expect(await held).toBeNull()
    expect(await stopped).toBe('PROCESS_EXITED')
    expect(exitText(found(process.exit))).toContain('boom')
  })

  test('[K7] stop: queued messages first, then ok; noproc, timeout and a wrong timeout as in OTP', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const process = bench.spawn('a/1', { on: { hi: (ctx) => void ctx.log.push('hi'), hold: () => gate.promise } })
    bench.send('a/1', 'hi')
    bench.send('a/1', 'hi')
    const stopped = bench.kernel.stop(process)
    bench.send('a/1', 'hi')
    await stopped
    expect(bench.log).toEqual(['hi', 'hi'])
    expect(thrownCode(() => bench.kernel.stop(process))).toBe('PROCESS_NOT_FOUND')
    const slow = bench.spawn('a/2', { on: { hold: () => gate.promise } })
    bench.send('a/2', 'hold')
    await bench.settle()
    expect(thrownCode(() => bench.kernel.stop(slow, NORMAL, -1))).toBe('REQUEST_INVALID')
    expect(slow.alive).toBe(true)
    const late = codeOf(bench.kernel.stop(slow, NORMAL, 50))
    await bench.clock.advance(50)
    expect(await late).toBe('AWAIT_TIMEOUT')
    gate.resolve()
    await bench.settle()
    expect(slow.alive).toBe(false)
  })

  test('[K7] exit by itself ends the process also when user code catches the unwinding', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', {
      on: {
        leave: (ctx) => {
          try {
            ctx.kernel.exitSelf(ctx.process, SHUTDOWN)
          } catch {
            ctx.log.push('caught')
          }
        },
      },
    })
    bench.send('a/1', 'leave')
    await bench.settle()
    expect([bench.log, process.exit]).toEqual([['caught'], SHUTDOWN])
  })

  test('[K8] a suspended process takes no turn but can be stopped and killed; resume goes on in order', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { hi: (ctx, n) => void ctx.log.push(n) } })
    bench.send('a/1', 'hi', 1) // queued and ready to run when the suspension comes
    bench.kernel.suspend(process)
    bench.kernel.suspend(process)
    bench.send('a/1', 'hi', 2)
    await bench.settle()
    expect([bench.log, statusOf(process)]).toEqual([[], 'suspended'])
    bench.kernel.resume(process)
    await bench.settle()
    expect(bench.log).toEqual([1, 2])
    bench.kernel.suspend(process)
    bench.send('a/1', 'hi', 3)
    await bench.kernel.stop(process)
    expect(bench.log).toEqual([1, 2])
    expect(bench.of('process:suspend').length).toBe(2)
  })
})

describe('death', () => {
  test('[K1] the first fatal reason is the one everybody sees', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1')
    const dead = bench.kernel.dead(process)
    const outside = { id: 'x/1', incarnation: 1 }
    bench.kernel.exitSignal({ from: outside, to: process, reason: shutdown('first'), viaLink: false })
    bench.kernel.exitSignal({ from: outside, to: process, reason: shutdown('second'), viaLink: false })
    bench.kernel.kill(process, { redeliver: false })
    bench.kernel.end(process, NORMAL)
    expect(exitText(await dead)).toBe('shutdown: first')
    expect(bench.of('process:exit').length).toBe(1)
  })

  test('[K3] the name is free before links, monitors and supervisor learn of the death', async () => {
    const bench = new Bench()
    const seen: (string | null)[] = []
    const look = (): void => void seen.push(bench.kernel.whereis('boss')?.id ?? null)
    const watcher = bench.spawn('a/w', { onDown: look, onExit: look }, { trapExit: true })
    const top = await bench.supervisor([bench.child('a', {}, { activated: look })])
    const process = bench.get('c/a')
    bench.kernel.register(process, 'boss')
    bench.kernel.monitor(watcher, process)
    bench.kernel.link(watcher, process)
    bench.send('c/a', 'crash')
    await bench.settle()
    expect(seen).toEqual([null, null, null, null])
    expect(top.process.alive).toBe(true)
  })

  test('[K3] an exit that is being stored is not announced before it is stored', async () => {
    const bench = new Bench()
    const stored = Promise.withResolvers<void>()
    const behaviour: Behaviour = { durable: true, init: () => {}, turn: boom, exited: () => stored.promise }
    const watcher = bench.spawn('a/w', { onDown: (ctx, down) => void ctx.log.push(down.reason.kind) })
    const process = bench.spawn('d/1', behaviour)
    bench.kernel.monitor(watcher, process)
    bench.send('d/1', 'x')
    await bench.settle()
    expect([process.alive, bench.log]).toEqual([false, []])
    stored.resolve()
    await bench.settle()
    expect(bench.log).toEqual(['crash'])
  })

  test('[K12] to a dead or unknown id a call fails and a send is dropped silently and counted', async () => {
    const bench = new Bench()
    await bench.supervisor([bench.child('a', { restart: 'transient' })])
    await bench.kernel.stop(bench.get('c/a'))
    bench.send('c/a', 'ping')
    expect(bench.get('c/a').stats.dropped).toBe(1)
    expect(await codeOf(bench.kernel.call(null, 'c/a', 'ping', null))).toBe('PROCESS_EXITED')
    expect(await codeOf(bench.kernel.call(null, 'no/one', 'ping', null))).toBe('PROCESS_NOT_FOUND')
    bench.send('no/one', 'ping')
    expect(bench.missing).toEqual(['no/one', 'no/one'])
  })

  test('[K13] a full mailbox refuses at the verb of the sender; exits, downs and timers get in', async () => {
    const bench = new Bench()
    const spec = { ...bench.spec('a/1', { onDown: (ctx) => void ctx.log.push('down') }), mailboxLimit: 2, parent: null }
    const process = bench.kernel.spawn(spec)
    bench.kernel.suspend(process)
    bench.send('a/1', 'x')
    bench.send('a/1', 'x')
    expect(thrownCode(() => bench.send('a/1', 'x'))).toBe('MAILBOX_FULL')
    expect(thrownCode(() => bench.kernel.call(null, 'a/1', 'x', null))).toBe('MAILBOX_FULL')
    bench.kernel.monitor(process, 'no/one')
    bench.kernel.after(process, 10, 'x')
    await bench.clock.advance(10)
    expect(process.mailboxLength).toBe(4)
    bench.kernel.resume(process)
    await bench.settle()
    expect(bench.log).toEqual(['down'])
  })
})

describe('durable behaviour', () => {
  const durable = (turn: Behaviour['turn'], more: Partial<Behaviour> = {}): Behaviour => {
    return { durable: true, init: () => {}, turn, ...more }
  }

  test('[K70] a crash keeps the mailbox and redelivers the message in hand as the verdict says', async () => {
    const bench = new Bench()
    const seen: string[] = []
    const turn: Behaviour['turn'] = (_process, envelope) => {
      seen.push(`${envelope.op}${envelope.attempts}`)
      if (envelope.op === 'bad' && envelope.attempts < 2) boom()
    }
    const crashed: Behaviour['crashed'] = () => ({ charge: 'message', delayMs: 70, redeliver: true })
    const child = { id: 'd', process: bench.spec('d/1', durable(turn, { crashed })) }
    const top = await bench.supervisor([child], { intensity: 0 })
    bench.send('d/1', 'bad')
    bench.send('d/1', 'good')
    await bench.settle()
    expect([seen, statusOf(bench.get('d/1'))]).toEqual([['bad0'], 'restarting'])
    await bench.clock.advance(140)
    expect(seen).toEqual(['bad0', 'bad1', 'bad2', 'good0'])
    expect([top.process.alive, bench.get('d/1').incarnation]).toEqual([true, 3])
  })

  test('[K71] a kill costs the message in hand one attempt, a stop by a sibling none', async () => {
    const bench = new Bench()
    const seen: string[] = []
    const turn: Behaviour['turn'] = (_process, envelope) => {
      seen.push(`${envelope.op}${envelope.attempts}`)
      return new Promise(() => {})
    }
    const child = { id: 'd', process: bench.spec('d/1', durable(turn)), shutdown: 100 }
    await bench.supervisor([bench.child('a'), child], { strategy: 'one_for_all' })
    bench.send('d/1', 'm')
    await bench.settle()
    bench.send('c/a', 'crash')
    await bench.clock.advance(100)
    expect(seen).toEqual(['m0', 'm0'])
    bench.kernel.kill(bench.get('d/1'), { redeliver: true })
    await bench.settle()
    expect(seen).toEqual(['m0', 'm0', 'm1'])
    expect(bench.get('d/1').lastExit?.reason).toEqual(KILLED)
  })

  test('[K73] a durable process that is coming back takes messages meanwhile, whatever brings it back', async () => {
    const bench = new Bench()
    const stored = Promise.withResolvers<void>()
    const seen: string[] = []
    const turn: Behaviour['turn'] = (_process, envelope) => {
      if (envelope.op === 'bad') boom()
      seen.push(envelope.op)
    }
    const child = (id: string, more: Partial<Behaviour> = {}) => ({
      id,
      process: bench.spec(`d/${id}`, durable(turn, more)),
    })
    const children = [child('1', { exited: () => stored.promise }), child('2'), bench.child('a')]
    const inner = supervisorProcess(bench.kernel, {
      ...{ id: 'supervisor/in', strategy: 'one_for_all' as const, intensity: 5, children },
    })
    await bench.supervisor([{ id: 'in', process: inner }])
    bench.send('d/1', 'bad')
    await bench.settle()
    bench.send('d/1', 'stored')
    stored.resolve()
    await bench.settle()
    bench.send('c/a', 'crash')
    await bench.settle()
    bench.send('c/a', 'crash')
    await bench.settle()
    expect(bench.get('d/2').alive).toBe(false)
    bench.send('d/2', 'group')
    await bench.clock.advance(1_000)
    bench.kernel.kill(bench.get('supervisor/in'), { redeliver: false })
    bench.send('d/2', 'supervisor')
    await bench.clock.advance(1_000)
    expect(seen).toEqual(['stored', 'group', 'supervisor'])
  })

  test('[K72] passivation takes an idle process out of memory without an end', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const pool = bench.pool({
      agent: 'd',
      behaviour: durable((_p, { op }) => (op === 'hold' ? gate.promise : undefined)),
    })
    const process = pool.ensure('1')
    bench.send('d/1', 'hold')
    await bench.settle()
    expect(bench.kernel.passivate(process)).toBe(false)
    gate.resolve()
    await bench.settle()
    const watcher = bench.spawn('a/w')
    const ref = bench.kernel.monitor(watcher, process)
    expect(bench.kernel.passivate(process)).toBe(false)
    bench.kernel.demonitor(watcher, ref)
    expect(bench.kernel.passivate(process)).toBe(true)
    expect([bench.kernel.find('d/1'), pool.childCount, bench.of('process:exit').length]).toEqual([undefined, 0, 0])
    expect(pool.ensure('1')).not.toBe(process)
  })
})

test('errors thrown by the layers above in the exit hook do not stop the death', async () => {
  const bench = new Bench()
  const behaviour: Behaviour = { durable: true, init: () => {}, turn: boom, exited: boom, crashed: boom }
  const process = bench.spawn('d/1', behaviour)
  bench.send('d/1', 'x')
  await bench.settle()
  expect([process.gone, bench.of('log').length]).toEqual([true, 2])
})
