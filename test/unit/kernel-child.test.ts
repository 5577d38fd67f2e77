/** Supervisors and their children: shutdown, significant children, verbs at run time. */
import { describe, expect, test } from 'vitest'
import { KILLED, NORMAL, SHUTDOWN, shutdown } from '../../server/kernel/exit.ts'
import { renew } from '../../server/kernel/renewal.ts'
import { supervisorOf } from '../../server/kernel/supervisor.ts'
import { type AgentInput, Bench, codeOf, found } from '../support/kernel-bench.ts'
import { fragile, nested, never } from '../support/kernel-child.ts'

describe('shutdown', () => {
  const stubborn: AgentInput = { terminate: never }

  test('[S30] kill at once, ms then kill, infinity waits', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const children = [
      bench.child('patient', { shutdown: 'infinity' }, { terminate: () => gate.promise }),
      bench.child('limited', { shutdown: 100 }, stubborn),
      bench.child('brutal', { shutdown: 'kill' }),
    ]
    const top = await bench.supervisor(children)
    const ended = bench.kernel.stop(top.process)
    await bench.clock.advance(99)
    expect([bench.get('c/brutal').exit, bench.get('c/limited').alive]).toEqual([KILLED, true])
    await bench.clock.advance(1)
    expect([bench.get('c/limited').exit, bench.get('c/patient').alive]).toEqual([KILLED, true])
    await bench.clock.advance(1_000_000)
    expect(top.process.alive).toBe(true)
    gate.resolve()
    await ended
    expect(bench.get('c/patient').exit).toEqual(SHUTDOWN)
    // Only the one that had to be killed is reported: brutal was meant to be.
    expect(bench.of('supervisor:child-failed').map((event) => event.child)).toEqual(['limited'])
  })

  test('[S30] a turn that never ends is killed when its time is over', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a', { shutdown: 100 }, { on: { hold: never } })])
    bench.send('c/a', 'hold')
    await bench.settle()
    const ended = bench.kernel.stop(top.process)
    await bench.clock.advance(100)
    await ended
    expect(bench.get('c/a').exit).toEqual(KILLED)
  })

  test('[S31] a child that died before is no obstacle, nor one that waits for nobody', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a', { restart: 'transient' }), bench.child('b')])
    bench.kernel.end(bench.get('c/a'), NORMAL)
    await bench.kernel.stop(top.process)
    expect(bench.get('c/b').exit).toEqual(SHUTDOWN)
  })

  test('[S33] when a supervisor is killed its children die killed, trapping ones in order', async () => {
    const bench = new Bench()
    const traps = bench.child(
      't',
      {},
      {
        activated: (ctx) => void ctx.kernel.setTrapExit(ctx.process, true),
        terminate: (ctx) => void ctx.log.push('-t'),
      },
    )
    const inner = nested(bench, 'in', [bench.child('a'), traps])
    const top = await bench.supervisor([inner])
    bench.log.length = 0
    const old = [bench.get('c/a'), bench.get('c/t')]
    bench.kernel.kill(bench.get('supervisor/in'), { redeliver: false })
    expect(old.map((process) => process.exit)).toEqual([KILLED, KILLED])
    await bench.settle()
    expect(bench.log).toEqual(['-t', '+a'])
    expect(old.map((process) => [process.alive, process.incarnation])).toEqual([
      [true, 2],
      [true, 2],
    ])
    expect(top.process.alive).toBe(true)
  })

  test('[S34] the restart of a supervisor waits for what a killed incarnation left behind', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const slow = bench.child(
      's',
      {},
      {
        activated: (ctx) => void ctx.kernel.setTrapExit(ctx.process, true),
        terminate: () => gate.promise,
      },
    )
    await bench.supervisor([nested(bench, 'in', [slow])], { intensity: 1 })
    bench.kernel.kill(bench.get('supervisor/in'), { redeliver: false })
    await bench.settle()
    expect([bench.get('supervisor/in').status, bench.get('c/s').incarnation]).toEqual(['starting', 1])
    gate.resolve()
    await bench.settle()
    expect([bench.get('supervisor/in').status, bench.get('c/s').incarnation]).toEqual(['idle', 2])
  })
})

describe('significant children', () => {
  const significant = (bench: Bench, id: string, restart: 'transient' | 'temporary') =>
    bench.child(id, { significant: true, restart })

  test('[S40] any_significant: the end of one shuts the supervisor down, the rest in reverse', async () => {
    const bench = new Bench()
    const others = [significant(bench, 'a', 'transient'), bench.child('b')]
    const children = [others[0], significant(bench, 's', 'transient'), others[1]].map(found)
    const top = await bench.supervisor(children, { autoShutdown: 'any_significant' })
    bench.log.length = 0
    bench.send('c/s', 'exit', NORMAL)
    await bench.settle()
    expect([top.process.exit, top.gaveUp]).toEqual([SHUTDOWN, false])
    expect(bench.log).toEqual(['-s', '-b', '-a'])
  })

  test('[S40] all_significant: only the end of the last one', async () => {
    const bench = new Bench()
    const children = [significant(bench, 's', 'transient'), significant(bench, 't', 'temporary')]
    const top = await bench.supervisor(children, { autoShutdown: 'all_significant' })
    bench.send('c/s', 'exit', NORMAL)
    await bench.settle()
    expect(top.process.alive).toBe(true)
    bench.kernel.kill(bench.get('c/t'), { redeliver: false })
    await bench.settle()
    expect(top.process.exit).toEqual(SHUTDOWN)
  })

  test('[S41] a transient one that crashes is restarted; terminateChild and siblings are no triggers', async () => {
    const bench = new Bench()
    const children = [bench.child('x'), significant(bench, 's', 'transient'), significant(bench, 't', 'temporary')]
    const top = await bench.supervisor(children, { autoShutdown: 'any_significant', strategy: 'one_for_all' })
    bench.send('c/s', 'crash')
    await bench.settle()
    bench.send('c/x', 'crash')
    await bench.clock.advance(200)
    await top.terminateChild('s')
    await bench.settle()
    expect([top.process.alive, bench.get('c/x').incarnation]).toEqual([true, 3])
  })

  test('[S42] it cascades when the supervisor is itself significant', async () => {
    const bench = new Bench()
    const inner = nested(bench, 'in', [significant(bench, 's', 'transient')], {
      autoShutdown: 'any_significant',
      restart: 'transient',
      significant: true,
    })
    const top = await bench.supervisor([inner], { autoShutdown: 'any_significant' })
    bench.send('c/s', 'exit', NORMAL)
    await bench.settle()
    expect(top.process.exit).toEqual(SHUTDOWN)
  })
})

describe('verbs', () => {
  test('[S50] start, terminate, restart, delete, which, count as OTP answers them', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a')])
    const b = await top.startChild(bench.child('b'))
    expect(b?.id).toBe('c/b')
    expect(await codeOf(top.startChild(bench.child('b')))).toBe('CHILD_ALREADY_STARTED')
    expect((await top.which()).map((child) => child.id)).toEqual(['b', 'a'])
    expect(await codeOf(top.restartChild('b'))).toBe('CHILD_RUNNING')
    expect(await codeOf(top.deleteChild('b'))).toBe('CHILD_RUNNING')
    await top.terminateChild('b')
    await top.terminateChild('b')
    expect(await codeOf(top.startChild(bench.child('b')))).toBe('CHILD_ALREADY_PRESENT')
    expect(await top.count()).toEqual({ specs: 2, active: 1, supervisors: 0, workers: 2 })
    expect((await top.restartChild('b'))?.incarnation).toBe(2)
    await top.terminateChild('b')
    await top.deleteChild('b')
    for (const verb of ['terminateChild', 'restartChild', 'deleteChild', 'whichChild'] as const) {
      expect(await codeOf(top[verb]('b'))).toBe('CHILD_NOT_FOUND')
    }
    expect(bench.kernel.find('c/b')).toBeUndefined()
  })

  test('[S50] a failed start keeps no specification; a failed restart by hand keeps it', async () => {
    const bench = new Bench()
    const broken = { now: true, starts: 0 }
    const top = await bench.supervisor([])
    expect(await codeOf(top.startChild(fragile(bench, 'f', broken)))).toBe('CHILD_START_FAILED')
    expect(await codeOf(top.whichChild('f'))).toBe('CHILD_NOT_FOUND')
    broken.now = false
    await top.startChild(fragile(bench, 'f', broken))
    await top.terminateChild('f')
    broken.now = true
    expect(await codeOf(top.restartChild('f'))).toBe('CHILD_START_FAILED')
    expect(await top.whichChild('f')).toMatchObject({ process: null, state: 'stopped' })
  })

  test('[S50] a temporary child that is terminated is forgotten', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('t', { restart: 'temporary' })])
    await top.terminateChild('t')
    expect(await top.which()).toEqual([])
  })

  test('[S53] changes of the tree are reported, so that they can be stored', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a'), bench.child('t', { restart: 'transient' })], { intensity: 2 })
    const counts: number[] = []
    const count = (): void => void counts.push(bench.changed.splice(0).length)
    count()
    await top.startChild(bench.child('b'))
    count()
    bench.send('c/t', 'exit', NORMAL)
    await bench.settle()
    count()
    for (let i = 0; i < 3; i++) {
      bench.send('c/a', 'crash')
      await bench.settle()
      count() // the second restart still waits here: it is counted before it happens
      await bench.clock.advance(50)
      bench.changed.length = 0
    }
    expect(counts.slice(1).every((n) => n > 0)).toBe(true)
  })

  test('[S53] each change says what, which child, which incarnation and why; the facts say how it is', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a'), bench.child('t', { restart: 'transient' })], { intensity: 1 })
    const lines = (): string[] => {
      const changes = bench.changed.splice(0).filter((change) => change.supervisor === top.process.id)
      return changes.map(({ kind, child, incarnation, reason, counted }) =>
        [kind, child, incarnation, reason, counted ? 'counted' : null].filter((part) => part !== null).join(' '),
      )
    }
    expect(lines()).toEqual(['started a 1', 'started t 1', 'up 1'])
    bench.send('c/t', 'exit', NORMAL)
    await bench.settle()
    expect(lines()).toEqual(['exited t 1 normal'])
    await top.terminateChild('a')
    expect(lines()).toEqual(['exited a 1 shutdown', 'terminated a 1'])
    expect(top.facts().children).toMatchObject([
      { id: 'a', process: 'c/a', state: 'stopped', terminated: true, added: null },
      { id: 't', state: 'stopped', terminated: false },
    ])
    await top.restartChild('a')
    await top.deleteChild('t')
    expect(lines()).toEqual(['started a 2', 'deleted t 1'])
    bench.send('c/a', 'crash')
    await bench.settle()
    const [exited, ...rest] = lines()
    expect([exited?.startsWith('exited a 2 crash'), ...rest]).toEqual([true, 'restarting a 2 counted', 'restarted a 3'])
    bench.send('c/a', 'crash')
    await bench.settle()
    expect(lines().slice(1)).toEqual(['gave-up a', 'down 1 shutdown'])
  })

  test('[S52] children added at run time do not come back with a restart of the supervisor', async () => {
    const bench = new Bench()
    await bench.supervisor([nested(bench, 'in', [bench.child('a')])])
    await found(supervisorOf(bench.get('supervisor/in'))).startChild(bench.child('b'))
    bench.kernel.kill(bench.get('supervisor/in'), { redeliver: false })
    await bench.settle()
    expect([bench.get('c/a').incarnation, bench.kernel.find('c/b')]).toEqual([2, undefined])
  })

  test('[S51] a restart by an operator is at once and never counted, for workers, supervisors and roots', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a'), nested(bench, 'in', [bench.child('b')])], { intensity: 0 })
    for (let i = 0; i < 3; i++) await renew(bench.kernel, bench.get('c/a'))
    expect([bench.get('c/a').incarnation, top.process.alive]).toEqual([4, true])
    bench.log.length = 0
    await renew(bench.kernel, bench.get('supervisor/in'))
    expect(bench.log).toEqual(['-b', '+b'])
    bench.send('c/a', 'crash')
    await bench.settle()
    expect(top.gaveUp).toBe(true)
    const again = found(await renew(bench.kernel, bench.get('supervisor/top')))
    expect([again.incarnation, supervisorOf(again)?.gaveUp, bench.get('c/b').alive]).toEqual([2, false, true])
    expect(await codeOf(renew(bench.kernel, bench.spawn('a/1')))).toBe('REQUEST_INVALID')
  })

  test('[S3] verbs and exits are worked off in order, one at a time; a dead supervisor refuses', async () => {
    const bench = new Bench()
    const gate = Promise.withResolvers<void>()
    const top = await bench.supervisor([bench.child('a', { shutdown: 'infinity' }, { terminate: () => gate.promise })])
    const order: string[] = []
    const verbs = [
      top.terminateChild('a').then(() => order.push('terminate')),
      top.startChild(bench.child('b')).then(() => order.push('start')),
      top.count().then(() => order.push('count')),
    ]
    await bench.settle()
    expect(order).toEqual([])
    gate.resolve()
    await Promise.all(verbs)
    expect(order).toEqual(['terminate', 'start', 'count'])
    await bench.kernel.stop(top.process)
    expect(await codeOf(top.which())).toBe('PROCESS_NOT_FOUND')
  })

  test('[S35] a supervisor ignores signals of strangers and has no operations', async () => {
    const bench = new Bench()
    const top = await bench.supervisor([bench.child('a')])
    const stranger = { id: 'x/1', incarnation: 1 }
    bench.kernel.exitSignal({ from: stranger, to: top.process, reason: shutdown('x'), viaLink: false })
    expect(await codeOf(bench.kernel.call(null, 'supervisor/top', 'which', null))).toBe('OPERATION_UNKNOWN')
    expect(top.process.alive).toBe(true)
  })
})
