/** Pools: members on demand, limits, restarts per key, parallel shutdown. */
import { describe, expect, test } from 'vitest'
import { KILLED, NORMAL, SHUTDOWN } from '../../server/kernel/exit.ts'
import { poolProcess } from '../../server/kernel/pool.ts'
import type { Behaviour } from '../../server/kernel/process.ts'
import { renew } from '../../server/kernel/renewal.ts'
import { type AgentInput, Bench, codeOf, thrownCode } from '../support/kernel-bench.ts'

const worker = (bench: Bench, more: AgentInput = {}): Behaviour =>
  bench.behaviour({
    activated: (ctx) => void ctx.log.push(`+${ctx.process.key}`),
    terminate: (ctx) => void ctx.log.push(`-${ctx.process.key}`),
    ...more,
    on: {
      crash: () => {
        throw new Error('boom')
      },
      exit: (ctx) => ctx.kernel.exitSelf(ctx.process, NORMAL),
      ping: () => 'pong',
      ...more.on,
    },
  })

describe('members', () => {
  test('[S60] ensure starts one member per key, at once; start wants a new one', async () => {
    const bench = new Bench()
    const pool = bench.pool({ behaviour: worker(bench) })
    const one = pool.ensure('1')
    expect([one.alive, one.id, pool.ensure('1') === one]).toEqual([true, 'w/1', true])
    expect(thrownCode(() => pool.start('1'))).toBe('CHILD_ALREADY_STARTED')
    const generated = [pool.start(), pool.start()].map((process) => process?.key ?? '')
    expect(generated.toSorted()).toEqual(generated)
    expect(pool.count()).toEqual({ specs: 1, active: 3, supervisors: 0, workers: 3 })
  })

  test('[S60] maxChildren counts members that are being restarted', async () => {
    const bench = new Bench()
    const pool = bench.pool({ behaviour: worker(bench), maxChildren: 1, intensity: 10 })
    pool.ensure('1')
    for (let i = 0; i < 2; i++) {
      bench.send('w/1', 'crash')
      await bench.settle()
    }
    expect(pool.ensure('1').status).toBe('restarting')
    expect(thrownCode(() => pool.ensure('2'))).toBe('CHILDREN_MAX')
    await pool.terminateChild('1')
    expect(pool.ensure('2').alive).toBe(true)
    expect(await codeOf(pool.terminateChild('1'))).toBe('CHILD_NOT_FOUND')
  })

  test('[S60] a start that fails leaves nothing; one that chose not to start is null', () => {
    const bench = new Bench()
    const bad = bench.pool({
      id: 'pool/bad',
      agent: 'bad',
      behaviour: worker(bench, {
        init: () => {
          throw new Error('no')
        },
      }),
    })
    expect(thrownCode(() => bad.ensure('1'))).toBe('CHILD_START_FAILED')
    expect([bad.childCount, bench.kernel.find('bad/1')]).toEqual([0, undefined])
    const ignore = { durable: false, init: () => 'ignore' as const, turn: () => {} }
    const shy = bench.pool({ id: 'pool/shy', agent: 'shy', behaviour: ignore })
    expect([shy.start('1'), shy.childCount]).toEqual([null, 0])
  })

  test('[K6] an id that is used again goes on counting incarnations', async () => {
    const bench = new Bench()
    const pool = bench.pool({ behaviour: worker(bench) })
    pool.ensure('1')
    await pool.terminateChild('1')
    expect(pool.ensure('1').incarnation).toBe(2)
  })

  test('[S60] a wrong specification is refused', () => {
    const bench = new Bench()
    const base = { id: 'pool/x', agent: 'x', behaviour: worker(bench) }
    for (const wrong of [{ maxChildren: -1 }, { restart: 'no' as never }, { shutdown: -1 }, { intensity: 0.5 }]) {
      expect(thrownCode(() => poolProcess(bench.kernel, { ...base, ...wrong }))).toBe('CHILD_SPEC_INVALID')
    }
  })
})

describe('restarts', () => {
  test('[S61] one for one; a transient member that ended normally is forgotten, a temporary one always', async () => {
    const bench = new Bench()
    const pool = bench.pool({ behaviour: worker(bench) })
    for (const key of ['1', '2', '3']) pool.ensure(key)
    bench.log.length = 0
    bench.send('w/1', 'crash')
    bench.send('w/2', 'exit')
    await bench.settle()
    expect(bench.log).toEqual(['-2', '+1'])
    expect([pool.get('1')?.incarnation, pool.get('2'), pool.get('3')?.incarnation]).toEqual([2, null, 1])
    const short = bench.pool({ id: 'pool/t', agent: 't', behaviour: worker(bench), restart: 'temporary' })
    short.ensure('1')
    bench.send('t/1', 'crash')
    await bench.settle()
    expect(short.childCount).toBe(0)
  })

  test('[S62] ephemeral members count for the pool, which gives up as in OTP', async () => {
    const bench = new Bench()
    const pool = bench.pool({ behaviour: worker(bench), intensity: 2 })
    for (const key of ['1', '2', '3', '4']) pool.ensure(key)
    bench.log.length = 0
    for (const key of ['1', '2', '3']) bench.send(`w/${key}`, 'crash')
    await bench.settle()
    expect([pool.gaveUp, pool.process.exit, pool.childCount]).toEqual([true, SHUTDOWN, 0])
    expect(bench.log).toContain('-4')
    expect(thrownCode(() => pool.ensure('5'))).toBe('SUPERVISOR_GAVE_UP')
    expect(bench.of('supervisor:give-up').length).toBe(1)
  })

  const durable = (more: Partial<Behaviour> = {}): Behaviour => ({
    durable: true,
    init: () => {},
    turn: () => {
      throw new Error('boom')
    },
    ...more,
  })

  test('[S62] a durable member that crashes outside a message is halted alone, until it is renewed', async () => {
    const bench = new Bench()
    const pool = bench.pool({ agent: 'd', behaviour: durable(), intensity: 2 })
    const sick = pool.ensure('sick')
    pool.ensure('well')
    for (let i = 0; i < 3; i++) {
      bench.kernel.crashProcess(sick, new Error('outside'))
      await bench.clock.advance(100)
    }
    expect([pool.isHalted('sick'), pool.gaveUp, pool.get('well')?.alive]).toEqual([true, false, true])
    expect(thrownCode(() => pool.ensure('sick'))).toBe('RESTART_LIMIT')
    expect(await codeOf(bench.kernel.call(null, 'd/sick', 'x', null))).toBe('RESTART_LIMIT')
    const again = await renew(bench.kernel, sick)
    expect([again?.alive, again?.incarnation, pool.isHalted('sick')]).toEqual([true, 4, false])
  })

  test('[S62] a crash inside a message counts for nobody and waits as the verdict says', async () => {
    const bench = new Bench()
    const crashed = () => ({ charge: 'message' as const, delayMs: 80, redeliver: false })
    const pool = bench.pool({ agent: 'd', behaviour: durable({ crashed }), intensity: 0 })
    const process = pool.ensure('1')
    for (let i = 0; i < 4; i++) {
      bench.send('d/1', 'x')
      await bench.clock.advance(79)
      expect(process.status).toBe('restarting')
      await bench.clock.advance(1)
    }
    expect([process.incarnation, pool.isHalted('1'), pool.gaveUp]).toEqual([5, false, false])
  })

  test('[S62] a durable member whose load fails again and again is halted', async () => {
    const bench = new Bench()
    const behaviour = durable({ init: () => Promise.reject(new Error('cannot load')) })
    const pool = bench.pool({ agent: 'd', behaviour, intensity: 1 })
    for (let i = 0; i < 2; i++) {
      pool.ensure('1')
      await bench.settle()
    }
    expect(thrownCode(() => pool.ensure('1'))).toBe('RESTART_LIMIT')
    expect(pool.gaveUp).toBe(false)
  })
})

describe('end', () => {
  test('[S63] all members are told at once and share one timer', async () => {
    const bench = new Bench()
    const wait = (ms: number) => new Promise<void>((resolve) => bench.clock.after(ms, resolve))
    const slow = worker(bench, { terminate: (ctx) => wait(Number(ctx.process.key)) })
    const pool = bench.pool({ behaviour: slow, shutdown: 2_000 })
    const members = ['1000', '1001', '5000'].map((key) => pool.ensure(key))
    const start = bench.clock.now()
    const ended = bench.kernel.stop(pool.process).then(() => bench.clock.now() - start)
    await bench.clock.advance(10_000)
    expect(await ended).toBe(2_000)
    expect(members.map((process) => process.exit)).toEqual([SHUTDOWN, SHUTDOWN, KILLED])
    expect(thrownCode(() => pool.ensure('1'))).toBe('PROCESS_NOT_FOUND')
  })

  test('[S63] ten thousand members start and stop in a moment', async () => {
    const bench = new Bench()
    bench.unwatch('process:start', 'process:exit')
    const pool = bench.pool({ behaviour: bench.behaviour({}) })
    for (let i = 0; i < 10_000; i++) pool.ensure(`${i}`)
    await bench.kernel.stop(pool.process)
    expect(bench.kernel.size).toBe(1)
  })
})
