/** Supervisors: specifications, start, exits, accounting, strategies in trouble. */
import { describe, expect, test } from 'vitest'
import type { ChildInput, RestartType } from '../../server/kernel/child.ts'
import { type ExitReason, NORMAL, SHUTDOWN, shutdown } from '../../server/kernel/exit.ts'
import { RestartWindow } from '../../server/kernel/restart.ts'
import { supervisorOf } from '../../server/kernel/supervisor.ts'
import { supervisorProcess } from '../../server/kernel/supervisor-process.ts'
import type { RuntimeError } from '../../shared/error.ts'
import { Bench, codeOf } from '../support/kernel-bench.ts'
import { fragile, nested, never } from '../support/kernel-child.ts'

describe('specification', () => {
  test('[S1] wrong children and flags are refused before anything starts, in the words of OTP', async () => {
    const bench = new Bench()
    const good = bench.child('a')
    const reasonOf = (children: unknown[], more: object = {}): unknown => {
      try {
        supervisorProcess(bench.kernel, {
          id: 's/1',
          strategy: 'one_for_one',
          children: children as ChildInput[],
          ...more,
        })
        return 'accepted'
      } catch (error) {
        return (error as RuntimeError).detail['reason']
      }
    }
    expect(reasonOf([{ ...good, id: '' }])).toBe('missing_id')
    expect(reasonOf([{ id: 'a' }])).toBe('missing_start')
    expect(reasonOf([{ ...good, restart: 'often' }])).toBe('invalid_restart_type')
    expect(reasonOf([{ ...good, shutdown: -1 }])).toBe('invalid_shutdown')
    expect(reasonOf([{ ...good, type: 'boss' }])).toBe('invalid_child_type')
    expect(reasonOf([{ ...good, significant: 1 }])).toBe('invalid_significant')
    expect(reasonOf([good, good])).toBe('duplicate_child_name')
    expect(reasonOf([{ ...good, significant: true }], { autoShutdown: 'any_significant' })).toBe('bad_combination')
    expect(reasonOf([{ ...good, significant: true, restart: 'transient' }])).toBe('bad_combination')
    expect(reasonOf([], { strategy: 'all_for_one' })).toBe('invalid_strategy')
    expect(reasonOf([], { intensity: -1 })).toBe('invalid_intensity')
    expect(reasonOf([], { periodMs: 0 })).toBe('invalid_period')
    expect(reasonOf([], { autoShutdown: 'maybe' })).toBe('invalid_auto_shutdown')
    expect(reasonOf([{ ...good, shutdown: 0, unknown: 1 }], { intensity: 0 })).toBe('accepted')
    const top = await bench.supervisor([good, nested(bench, 'n', [])])
    expect(top.specOf('a')).toMatchObject({ restart: 'permanent', shutdown: 5_000, significant: false, type: 'worker' })
    expect(top.specOf('n')).toMatchObject({ shutdown: 'infinity', type: 'supervisor' })
    expect(bench.log).toEqual(['+a'])
  })
})

describe('start', () => {
  test('[S2] left to right, each after the one before is up', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const slow = bench.child('slow', {}, { activated: () => gate.promise.then(() => void bench.log.push('+slow')) })
    const started = bench.supervisor([slow, bench.child('b')])
    await bench.settle()
    expect(bench.log).toEqual([])
    gate.resolve()
    await started
    expect(bench.log).toEqual(['+slow', '+b'])
  })

  test('[S2] when one fails, those before it are stopped in reverse and the supervisor does not start', async () => {
    const bench = new Bench()
    const children = [
      bench.child('a'),
      bench.child('b'),
      fragile(bench, 'c', { now: true, starts: 0 }),
      bench.child('d'),
    ]
    expect(await codeOf(bench.supervisor(children))).toBe('CHILD_START_FAILED')
    expect(bench.log).toEqual(['+a', '+b', '-b', '-a'])
    expect(bench.kernel.find('supervisor/top')?.alive).toBe(false)
    expect(bench.of('supervisor:child-failed').map((event) => [event.child, event.attempt])).toEqual([['c', 1]])
  })

  test('[S2] a child that chose not to start keeps its specification, a temporary one does not', async () => {
    const bench = new Bench()
    const ignore = { durable: false, init: () => 'ignore' as const, turn: () => {} }
    const top = await bench.supervisor([{ id: 'i', process: bench.spec('c/i', ignore) }])
    expect(await top.whichChild('i')).toMatchObject({ process: null, state: 'stopped' })
    const temporary = { id: 't', process: bench.spec('c/t', ignore), restart: 'temporary' as const }
    expect(await top.startChild(temporary)).toBeNull()
    expect(await codeOf(top.whichChild('t'))).toBe('CHILD_NOT_FOUND')
  })

  test('[S2] so does one that takes its time to choose; a late failure keeps its cause', async () => {
    const bench = new Bench()
    const ignore = { durable: false, init: () => Promise.resolve('ignore' as const), turn: () => {} }
    const top = await bench.supervisor([{ id: 'i', process: bench.spec('c/i', ignore) }, bench.child('a')])
    expect(await top.whichChild('i')).toMatchObject({ process: null, state: 'stopped' })
    expect(bench.kernel.find('c/a')?.alive).toBe(true)
    const failing = { durable: false, init: () => Promise.reject(new Error('no disk')), turn: () => {} }
    const started = top.startChild({ id: 'f', process: bench.spec('c/f', failing) })
    await expect(started).rejects.toMatchObject({ message: expect.stringContaining('no disk') })
  })

  test('[S2] a start that takes too long is killed and fails', async () => {
    const bench = new Bench()
    const slow = bench.child('slow', { startTimeoutMs: 50 }, { activated: never })
    const started = codeOf(bench.supervisor([slow]))
    await bench.clock.advance(50)
    expect(await started).toBe('CHILD_START_FAILED')
  })
})

describe('exits', () => {
  type Reason = ExitReason | 'crash'
  /** What became of a child, and how often the supervisor reported it. */
  async function endOf(restart: RestartType, reason: Reason): Promise<[string, number]> {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('x', { restart })])
    const before = bench.get('c/x').incarnation
    if (reason === 'crash') bench.send('c/x', 'crash')
    else bench.send('c/x', 'exit', reason)
    await bench.settle()
    const [listed] = await top.which()
    const reports = bench.of('supervisor:child-failed').length
    if (listed === undefined) return [bench.kernel.find('c/x') === undefined ? 'forgotten' : 'left over', reports]
    if (listed.process === null) return ['kept', reports]
    return [listed.process.incarnation === before + 1 ? 'restarted' : 'untouched', reports]
  }

  test('[S4] a permanent child is restarted whatever its reason, and reported', async () => {
    for (const reason of [NORMAL, SHUTDOWN, shutdown('why'), 'crash'] as Reason[]) {
      expect(await endOf('permanent', reason)).toEqual(['restarted', 1])
    }
  })

  test('[S5] a transient child is restarted and reported only after an abnormal end; its spec stays', async () => {
    for (const reason of [NORMAL, SHUTDOWN, shutdown('why')]) {
      expect(await endOf('transient', reason)).toEqual(['kept', 0])
    }
    expect(await endOf('transient', 'crash')).toEqual(['restarted', 1])
  })

  test('[S6] a temporary child is forgotten in any case, and reported after an abnormal end', async () => {
    for (const reason of [NORMAL, shutdown('why')]) expect(await endOf('temporary', reason)).toEqual(['forgotten', 0])
    expect(await endOf('temporary', 'crash')).toEqual(['forgotten', 1])
  })

  test('[S14] fenced is no end: not counted, not restarted here', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a')], { intensity: 0 })
    bench.kernel.end(bench.get('c/a'), { kind: 'fenced' })
    await bench.settle()
    expect([top.process.alive, (await top.whichChild('a')).state]).toEqual([true, 'stopped'])
    expect(bench.get('c/a').status).toBe('exited')
  })

  test('[S14] a crash charged to its message applies the strategy but not the limit', async () => {
    const bench = new Bench()
    const behaviour = {
      durable: true,
      init: () => void bench.log.push('+d'),
      turn: (): never => {
        throw new Error('boom')
      },
      crashed: () => ({ charge: 'message' as const, delayMs: 0, redeliver: false }),
    }
    const children = [{ id: 'd', process: bench.spec('c/d', behaviour) }, bench.child('e')]
    const top = await bench.supervisor(children, { intensity: 0, strategy: 'rest_for_one' })
    bench.log.length = 0
    for (let i = 0; i < 3; i++) {
      bench.send('c/d', 'x')
      await bench.settle()
    }
    expect(top.process.alive).toBe(true)
    expect(bench.log).toEqual(['-e', '+d', '+e', '-e', '+d', '+e', '-e', '+d', '+e'])
  })
})

describe('accounting', () => {
  test('[S10] intensity restarts are allowed, the next one ends the supervisor with shutdown, visibly', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a'), bench.child('b')], { intensity: 2, periodMs: 5_000 })
    for (let i = 0; i < 3; i++) {
      bench.send('c/b', 'crash')
      await bench.clock.advance(500)
    }
    expect([top.process.alive, top.process.exit, top.gaveUp]).toEqual([false, SHUTDOWN, true])
    expect(bench.log).toEqual(['+a', '+b', '+b', '+b', '-a'])
    expect(bench.of('supervisor:give-up')).toMatchObject([{ id: 'supervisor/top', child: 'b', intensity: 2 }])
    // S13: it stays, for the parent or an operator to see.
    expect(bench.kernel.find('supervisor/top')?.supervisor?.detail(0).gaveUp).toBe(true)
  })

  test('[S10] the window is inclusive in milliseconds', () => {
    const window = new RestartWindow(1, 1_000)
    expect([window.add(0), window.add(1_000)]).toEqual([true, false])
    const next = new RestartWindow(1, 1_000)
    expect([next.add(0), next.add(1_001), next.recent(1_500), next.recent(2_002)]).toEqual([true, true, 1, 0])
  })

  test('[S10] intensity 0: the first restart ends the supervisor', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a')], { intensity: 0 })
    bench.send('c/a', 'crash')
    await bench.settle()
    expect([top.gaveUp, bench.log]).toEqual([true, ['+a']])
  })

  test('[S11] one count per attempt: a child that never starts again is tried exactly intensity times', async () => {
    const bench = new Bench()
    const broken = { now: false, starts: 0 }
    const top = await bench.supervisor([fragile(bench, 'f', broken)], { intensity: 3 })
    broken.now = true
    bench.send('c/f', 'crash')
    await bench.clock.advance(5_000)
    expect([broken.starts, top.gaveUp]).toEqual([1 + 3, true])
  })

  test('[S11] a group restart counts once', async () => {
    const bench = new Bench()
    const children = ['a', 'b', 'c'].map((id) => bench.child(id))
    const top = await bench.supervisor(children, { intensity: 2, strategy: 'one_for_all' })
    for (let i = 0; i < 2; i++) {
      bench.send('c/a', 'crash')
      await bench.clock.advance(600)
    }
    expect([top.gaveUp, bench.get('c/c').incarnation]).toEqual([false, 3])
  })

  test('[S12] at once, then 50 ms, doubled, capped so that a permanent failure reaches the limit', async () => {
    const window = new RestartWindow(3, 5_000)
    expect([0, 1, 2, 3, 4, 5, 6].map((n) => window.delayMs(n))).toEqual([0, 50, 100, 200, 400, 625, 625])
    for (const [intensity, periodMs] of [
      [1, 1],
      [3, 5_000],
      [100, 1_000],
      [10, 3_600_000],
    ] as const) {
      const any = new RestartWindow(intensity, periodMs)
      const total = Array.from({ length: intensity + 1 }, (_, n) => any.delayMs(n)).reduce((a, b) => a + b)
      expect(total).toBeLessThan(periodMs)
    }
    const bench = new Bench()
    await bench.supervisor([bench.child('a')], { intensity: 10 })
    const process = bench.get('c/a')
    const delays: number[] = []
    for (let i = 0; i < 4; i++) {
      bench.send('c/a', 'crash')
      await bench.settle()
      const { deadline, since } = process.wait ?? { deadline: 0, since: 0 }
      delays.push((deadline ?? 0) - since)
      await bench.clock.advance(200)
    }
    expect(delays).toEqual([0, 50, 100, 200])
    await bench.clock.advance(5_001)
    bench.send('c/a', 'crash')
    await bench.settle()
    expect([process.alive, process.wait]).toEqual([true, null])
  })

  test('[S13] a permanent supervisor that gives up counts at its parent, a transient one stays down', async () => {
    const bench = new Bench()
    const inner = (id: string, restart: 'permanent' | 'transient') =>
      nested(bench, id, [bench.child(`${id}-x`)], { intensity: 0, restart })
    const top = await bench.supervisor([inner('p', 'permanent'), inner('t', 'transient')], { intensity: 1 })
    bench.send('c/p-x', 'crash')
    bench.send('c/t-x', 'crash')
    await bench.settle()
    expect([bench.get('supervisor/p').incarnation, bench.get('c/p-x').alive]).toEqual([2, true])
    expect(await top.whichChild('t')).toMatchObject({ process: null, state: 'stopped' })
    expect(supervisorOf(bench.get('supervisor/t'))?.gaveUp).toBe(true)
    bench.send('c/p-x', 'crash')
    await bench.settle()
    expect(top.gaveUp).toBe(true)
  })
})

describe('strategies in trouble', () => {
  test('[S23] temporary siblings are removed by a strategy; all others come back, also the ended ones', async () => {
    const bench = new Bench()
    const children = [
      bench.child('t', { restart: 'temporary' }),
      bench.child('n', { restart: 'transient' }),
      bench.child('s'),
      bench.child('x'),
    ]
    const top = await bench.supervisor(children, { strategy: 'one_for_all' })
    bench.send('c/n', 'exit', NORMAL)
    await top.terminateChild('s')
    bench.log.length = 0
    bench.send('c/x', 'crash')
    await bench.settle()
    expect(bench.log).toEqual(['-t', '+n', '+s', '+x'])
    expect((await top.which()).map((child) => child.id)).toEqual(['x', 's', 'n'])
  })

  test('[S24] one_for_one: a failed restart is tried again; meanwhile the supervisor answers', async () => {
    const bench = new Bench()
    const broken = { now: false, starts: 0 }
    const top = await bench.supervisor([fragile(bench, 'f', broken), bench.child('b')], { intensity: 10 })
    broken.now = true
    bench.send('c/f', 'crash')
    await bench.settle()
    expect(await top.whichChild('f')).toMatchObject({ process: null, state: 'restarting' })
    expect(await codeOf(top.restartChild('f'))).toBe('CHILD_RESTARTING')
    expect(await codeOf(top.deleteChild('f'))).toBe('CHILD_RESTARTING')
    expect(await codeOf(top.startChild(bench.child('f')))).toBe('CHILD_ALREADY_PRESENT')
    expect(await top.count()).toEqual({ specs: 2, active: 1, supervisors: 0, workers: 2 })
    broken.now = false
    await bench.clock.advance(500)
    expect((await top.whichChild('f')).state).toBe('running')
  })

  test('[S24] terminating a child in its restart loop ends the loop; so does the end of the supervisor', async () => {
    const bench = new Bench()
    const broken = { now: false, starts: 0 }
    const top = await bench.supervisor([fragile(bench, 'f', broken)], { intensity: 10 })
    broken.now = true
    bench.send('c/f', 'crash')
    await bench.settle()
    await top.terminateChild('f')
    const { starts } = broken
    await bench.clock.advance(5_000)
    expect([broken.starts, (await top.whichChild('f')).state]).toEqual([starts, 'stopped'])
    broken.now = false
    await top.restartChild('f')
    broken.now = true
    bench.send('c/f', 'crash')
    await bench.settle()
    await bench.kernel.stop(top.process)
    expect(bench.clock.armed).toBe(0)
  })

  test('[S24] rest_for_one: those before the one that fails stay; the retry goes from it onward', async () => {
    const bench = new Bench()
    const broken = { now: false, starts: 0 }
    const children = [bench.child('a'), bench.child('b'), fragile(bench, 'f', broken), bench.child('d')]
    await bench.supervisor(children, { strategy: 'rest_for_one', intensity: 10 })
    broken.now = true
    bench.log.length = 0
    bench.send('c/b', 'crash')
    await bench.settle()
    expect(bench.log).toEqual(['-d', '-f', '+b'])
    broken.now = false
    await bench.clock.advance(1_000)
    expect(bench.log).toEqual(['-d', '-f', '+b', '+f', '+d'])
    expect(bench.get('c/a').incarnation).toBe(1)
  })

  test('[S24] one_for_all: everything is stopped again and started again', async () => {
    const bench = new Bench()
    const broken = { now: false, starts: 0 }
    const children = [bench.child('a'), bench.child('b'), fragile(bench, 'f', broken)]
    await bench.supervisor(children, { strategy: 'one_for_all', intensity: 10 })
    broken.now = true
    bench.log.length = 0
    bench.send('c/a', 'crash')
    await bench.settle()
    expect(bench.log.slice(0, 6)).toEqual(['-f', '-b', '+a', '+b', '-b', '-a'])
    expect(['a', 'b'].map((id) => bench.get(`c/${id}`).alive)).toEqual([false, false])
    broken.now = false
    await bench.clock.advance(1_000)
    expect(bench.log.slice(-3)).toEqual(['+a', '+b', '+f'])
    expect(['a', 'b', 'f'].every((id) => bench.get(`c/${id}`).alive)).toBe(true)
  })
})
