/** Supervisors and pools as rows on the memory store: what outlives a node, what is written, and by whom. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { pool, type SupervisorDefinition, supervisor } from '../../server/definition/supervisor.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { decodeEntries } from '../../server/journal/entry.ts'
import type { Process } from '../../server/kernel/process.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'
import { brittle, crash, journalOf, late, ledgered, rowOf, supervisorAt, told, treeOf } from '../support/tree-world.ts'

const PERIOD_MS = 60_000

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

function tree(intensity: number, more: SupervisorDefinition['children'] = []): SupervisorDefinition {
  const children = [brittle.spec({ key: 'a' }), ...more]
  return supervisor('app', { strategy: 'one_for_one', intensity, periodMs: PERIOD_MS, children })
}

const start = (name: string, root: SupervisorDefinition) =>
  world.node(name, [brittle, ledgered], { root, agents: [ledgered] })

describe('the death of a node', () => {
  test('[S54] gives no restart back: those inside the period count in the next life, the others do not', async () => {
    const root = tree(2)
    const a = await start('a', root)
    await crash(a, 'a')
    await crash(a, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 2)
    a.kill()
    const b = await start('b', root)
    await crash(b, 'a')
    await world.until(() => b.seen('supervisor:give-up').length === 1)
  })

  test('[S54] restarts outside the period do not count in the next life, and are not kept', async () => {
    const root = tree(2)
    const a = await start('a', root)
    await crash(a, 'a')
    await crash(a, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 2)
    a.kill()
    await world.advance(PERIOD_MS + 1)
    const b = await start('b', root)
    await crash(b, 'a')
    expect(b.core.kernel.find('supervisor/app')?.alive).toBe(true)
    await world.until(
      async () => (await told(b, 'supervisor/app')).filter((note) => note.startsWith('restarted')).length === 3,
    )
    expect((await treeOf(b, 'supervisor/app'))?.restarts.length).toBe(1)
  })

  test('[S54] spends no restart', async () => {
    const root = tree(1)
    const first = await start('a', root)
    await world.settle()
    first.kill()
    for (const name of ['b', 'c', 'd']) {
      const node = await start(name, root)
      await world.settle()
      expect(supervisorAt(node, 'app').detail(world.clock.monotonic()).recentRestarts).toBe(0)
      if (name !== 'd') node.kill()
      else await crash(node, 'a')
    }
    expect(world.nodes.at(-1)?.seen('supervisor:give-up')).toEqual([])
  })

  test('[S54] children started at run time come back below their supervisor, in order, with their state', async () => {
    const root = tree(3)
    const a = await start('a', root)
    for (const key of ['z', 'y']) {
      const process = a.core.tree.childSpec('ledgered', key)
      if (process === null) throw new Error('ledgered is known')
      await world.run(supervisorAt(a, 'app').startChild({ id: `extra-${key}`, process, shutdown: 'kill' }))
    }
    expect(await a.call(a.ref(ledgered, 'z').add())).toBe(1)
    const temporary = a.core.tree.childSpec('brittle', 'once')
    if (temporary === null) throw new Error('brittle is known')
    await world.run(supervisorAt(a, 'app').startChild({ id: 'once', process: temporary, restart: 'temporary' }))
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.children.has('once') === true)
    a.kill()
    const b = await start('b', root)
    const which = await world.run(supervisorAt(b, 'app').which())
    expect(which.map(({ id, state }) => `${id} ${state}`)).toEqual([
      'extra-y running',
      'extra-z running',
      'brittle/a running',
    ])
    expect(supervisorAt(b, 'app').specOf('extra-z')).toMatchObject({ shutdown: 'kill', restart: 'permanent' })
    expect(await b.call(b.ref(ledgered, 'z').add())).toBe(2)
    expect(b.core.kernel.find('ledgered/z')?.parent?.id).toBe('supervisor/app')
  })

  test('[S54] children a verb took down stay down, whatever is sent to them, till a verb starts them', async () => {
    const root = tree(3, [ledgered.spec({ key: 'l' })])
    const a = await start('a', root)
    await world.run(supervisorAt(a, 'app').terminateChild('ledgered/l'))
    await world.run(supervisorAt(a, 'app').terminateChild('brittle/a'))
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.children.get('brittle/a')?.terminated === true)
    a.kill()
    const b = await start('b', root)
    expect(await world.run(supervisorAt(b, 'app').which())).toMatchObject([{ state: 'stopped' }, { state: 'stopped' }])
    expect(await world.refusal(b.ref(ledgered, 'l').add())).toMatchObject({ code: 'PROCESS_EXITED' })
    expect(await world.refusal(b.ref(brittle, 'a').add())).toMatchObject({ code: 'PROCESS_EXITED' })
    await world.run(b.send(b.ref(ledgered, 'l').add()))
    await world.advance(2_000)
    expect(b.core.kernel.find('ledgered/l')).toMatchObject({ alive: false, status: 'exited' })
    await world.run(supervisorAt(b, 'app').restartChild('ledgered/l'))
    expect(await b.call(b.ref(ledgered, 'l').add())).toBe(2)
    await world.until(async () => (await treeOf(b, 'supervisor/app'))?.children.get('ledgered/l')?.terminated === false)
  })
})

describe('what is written', () => {
  test('[S55] a start is one row, whatever the number of children; a crash tells what happened and why', async () => {
    const many = Array.from({ length: 300 }, (_, i) => brittle.spec({ key: `c${i}` }))
    const a = await start('a', tree(3, many))
    await world.until(async () => (await told(a, 'supervisor/app')).includes('up'))
    const rows = a.faults.trees.filter((row) => row.id === 'supervisor/app')
    expect(rows.length).toBeLessThan(4)
    const entries = rows.flatMap((row) => decodeEntries(row.payload)).filter((entry) => entry.k === 'tree')
    expect(entries.reduce((sum, { notes, untold }) => sum + notes.length + untold, 0)).toBe(303)
    expect((await treeOf(a, 'supervisor/app'))?.children.size).toBe(301)
    await world.until(() => a.core.layer.snapshots.taken > 0)
    expect((await treeOf(a, 'supervisor/app'))?.children.size).toBe(301)
    await crash(a, 'c7')
    await world.until(async () => (await told(a, 'supervisor/app')).includes('restarted brittle/c7'))
    expect((await told(a, 'supervisor/app')).slice(-3)).toEqual([
      'exited brittle/c7',
      'restarting brittle/c7',
      'restarted brittle/c7',
    ])
    expect((await treeOf(a, 'supervisor/app'))?.children.get('brittle/c7')).toMatchObject({ incarnation: 2 })
    const summary = (await journalOf(a, 'supervisor/app')).map((item) => item.summary).join('; ')
    expect(summary).toMatch(/exited brittle\/c7 \(crash Error: on purpose\).*restarting brittle\/c7, which counts/)
  })

  test('[S55] members of pools are not in it, restarts that count for the pool are', async () => {
    const root = supervisor('app', {
      strategy: 'one_for_one',
      children: [pool(brittle, { intensity: 5, periodMs: PERIOD_MS }), pool(ledgered)],
    })
    const a = await start('a', root)
    await world.until(async () => (await told(a, 'pool/ledgered')).includes('up'))
    const before = a.faults.trees.length
    const calls = Array.from({ length: 500 }, (_, i) => a.ref(brittle, `m${i}`).add().run())
    await world.run(Promise.all(calls))
    await world.run(Promise.all(Array.from({ length: 50 }, (_, i) => a.ref(ledgered, `m${i}`).add().run())))
    expect(a.faults.trees.length).toBe(before)
    await crash(a, 'm3')
    await world.until(async () => (await treeOf(a, 'pool/brittle'))?.restarts.length === 1)
    expect(await treeOf(a, 'pool/brittle')).toMatchObject({ children: new Map(), gaveUp: null })
  })

  test('[S55] an outage of the store stops no tree; later one row has the newest state and counts', async () => {
    const a = await start('a', tree(1_000))
    await world.until(async () => (await told(a, 'supervisor/app')).includes('up'))
    await world.settle()
    const rows = a.faults.trees.length
    const end = a.faults.outage()
    for (let i = 0; i < 150; i++) await crash(a, 'a')
    expect(a.core.kernel.find('brittle/a')?.incarnation).toBe(151)
    end()
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 150)
    expect(a.faults.trees.length).toBeLessThan(rows + 4)
    const entries = a.faults.trees.slice(rows).flatMap((row) => decodeEntries(row.payload))
    const trees = entries.filter((entry) => entry.k === 'tree')
    expect(trees.reduce((sum, { notes, untold }) => sum + notes.length + untold, 0)).toBe(450)
    expect(Math.max(...trees.map(({ untold }) => untold))).toBeGreaterThan(200)
    expect((await treeOf(a, 'supervisor/app'))?.children.get('brittle/a')).toMatchObject({ incarnation: 151 })
  })

  test('[S55] what an operator does to a supervisor is in its journal with name and reason', async () => {
    const inner = supervisor('inner', { strategy: 'one_for_one', children: [brittle.spec({ key: 'in' })] })
    const a = await start('a', tree(3, [inner]))
    const act = { actor: 'operator:ana', reason: 'it leaks' }
    await a.call(a.control.restart('supervisor/inner', act))
    await world.until(async () => (await told(a, 'supervisor/inner')).filter((note) => note === 'up').length === 2)
    expect((await told(a, 'supervisor/inner')).slice(-5)).toEqual([
      'act',
      'exited brittle/in',
      'down',
      'started brittle/in',
      'up',
    ])
    const [newest] = await journalOf(a, 'supervisor/inner')
    expect(await rowOf(a, 'supervisor/inner')).toMatchObject({
      kind: 'supervisor',
      parent: 'supervisor/app',
      incarnation: 2,
    })
    const items = await journalOf(a, 'supervisor/inner')
    expect(
      items.some((item) => item.actor === 'operator:ana' && /restart by operator:ana \(it leaks\)/.test(item.summary)),
    ).toBe(true)
    await a.call(a.control.stop('supervisor/inner', act))
    await world.until(async () => (await journalOf(a, 'supervisor/inner'))[0]?.seq !== newest?.seq)
    expect((await journalOf(a, 'supervisor/inner')).map((item) => item.summary).join('; ')).toMatch(
      /stop by operator:ana/,
    )
  })
})

describe('two nodes', () => {
  test('[S56] one owns the row, the other writes nothing, and takes it over with its history', async () => {
    const root = tree(2, [ledgered.spec({ key: 'l' })])
    const a = await start('a', root)
    const b = await start('b', root)
    await crash(a, 'a')
    await crash(a, 'a')
    await crash(b, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 2)
    await world.settle()
    expect((await rowOf(a, 'supervisor/app'))?.owner).toBe(a.core.node.id)
    expect(b.faults.trees).toEqual([])
    a.kill()
    await world.until(async () => (await rowOf(b, 'supervisor/app'))?.owner === b.core.node.id)
    await world.until(async () => (await told(b, 'supervisor/app')).filter((note) => note === 'owned').length === 2)
    expect((await treeOf(b, 'supervisor/app'))?.restarts.length).toBe(3)
    expect(b.core.kernel.find('supervisor/app')).toMatchObject({ alive: true, incarnation: 1 })
    await crash(b, 'a')
    expect(b.seen('supervisor:give-up').length).toBe(1)
  })

  test('[S56] restarts of two nodes within one millisecond are two', async () => {
    const a = await start('a', tree(3))
    const b = await start('b', tree(3))
    await Promise.all([crash(a, 'a'), crash(b, 'a')])
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 1)
    a.kill()
    await world.until(async () => (await treeOf(b, 'supervisor/app'))?.restarts.length === 2)
    const { restarts } = (await treeOf(b, 'supervisor/app')) ?? { restarts: [] }
    expect(new Set(restarts).size).toBe(1)
  })

  test('[S56] a child started at run time comes back with the takeover, and one taken down stays down', async () => {
    const root = tree(3, [ledgered.spec({ key: 'l' })])
    const a = await start('a', root)
    const b = await start('b', root)
    const process = a.core.tree.childSpec('ledgered', 'extra')
    if (process === null) throw new Error('ledgered is known')
    await world.run(supervisorAt(a, 'app').startChild({ id: 'extra', process }))
    expect(await a.call(a.ref(ledgered, 'extra').add())).toBe(1)
    await world.run(supervisorAt(a, 'app').terminateChild('ledgered/l'))
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.children.get('ledgered/l')?.terminated === true)
    a.kill()
    await world.until(() => b.core.kernel.find('ledgered/extra')?.alive === true)
    expect(await b.call(b.ref(ledgered, 'extra').add())).toBe(2)
    expect(b.core.kernel.find('ledgered/extra')?.parent?.id).toBe('supervisor/app')
    await world.until(() => supervisorAt(b, 'app').isTerminated('ledgered/l'))
  })

  test('[S56] a clean end of the owner hands the row on', async () => {
    const hold = gate()
    const slow = agent('slow', {
      durability: 'ephemeral',
      state: () => ({}),
      on: {},
      terminate: () => hold.promise,
    })
    const children = [slow.spec({ key: 's' }), brittle.spec({ key: 'a' })]
    const root = supervisor('app', { strategy: 'one_for_one', children })
    const a = await start('a', root)
    const b = await start('b', root)
    await world.until(async () => (await told(a, 'supervisor/app')).includes('up'))
    const stopped = a.core.stop()
    await world.until(() => a.core.kernel.find('brittle/a')?.alive === false)
    await world.advance(100)
    hold.open()
    await world.run(stopped)
    a.dead = true
    await world.until(async () => (await rowOf(b, 'supervisor/app'))?.owner === b.core.node.id)
    await world.until(async () => (await told(b, 'supervisor/app')).filter((note) => note === 'owned').length === 2)
    // What ends with its node has moved, not exited.
    expect(await told(b, 'supervisor/app')).toEqual([
      ...['owned', 'started slow/s', 'started brittle/a', 'up', 'owned'],
    ])
  })

  test('[S56] a lost epoch ends no supervisor: it follows, and owns again when the node has joined anew', async () => {
    const a = await start('a', tree(3))
    await crash(a, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 1)
    const before = a.core.node.epoch
    const row = world.db?.nodes.get(a.core.node.id)
    if (row === undefined) throw new Error('the node has a row')
    row.epoch = world.db?.nextEpoch() ?? 0
    row.stoppedAt = world.clock.now()
    await world.until(() => a.core.node.epoch !== before)
    await world.until(async () => (await rowOf(a, 'supervisor/app'))?.owner === a.core.node.id)
    await crash(a, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 2)
    expect(supervisorAt(a, 'app').detail(world.clock.monotonic()).recentRestarts).toBe(2)
    expect(a.core.kernel.find('supervisor/app')).toMatchObject({ alive: true, incarnation: 1 })
    expect(a.seen('process:fenced')).toEqual([])
  })

  test('[S56] an owner whose row was taken follows, ends nothing, and asks again later', async () => {
    const a = await start('a', tree(100))
    await world.until(async () => (await told(a, 'supervisor/app')).includes('up'))
    const { db } = world
    const process = db?.find('default', 'supervisor/app')
    const head = db?.heads.get(process?.pid ?? 0)
    if (db === null || process === undefined || head === undefined) throw new Error('the supervisor has a row')
    head.claim = db.nextClaim()
    await crash(a, 'a')
    await world.advance(1_000)
    expect(a.core.kernel.find('supervisor/app')).toMatchObject({ alive: true, incarnation: 1 })
    expect(a.seen('process:fenced')).toEqual([])
    expect((await treeOf(a, 'supervisor/app'))?.restarts).toEqual([])
    process.owner = null
    process.ownerEpoch = null
    await world.advance(10_000)
    await crash(a, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 2)
  })

  test('[S56] a row that the store refuses is made anew, and the tree goes on', async () => {
    const a = await start('a', tree(100))
    await world.until(async () => (await told(a, 'supervisor/app')).includes('up'))
    a.faults.next('commit', { kind: 'fail', failure: 'rejected' })
    await crash(a, 'a')
    await world.until(async () => (await treeOf(a, 'supervisor/app'))?.restarts.length === 1)
    expect((await treeOf(a, 'supervisor/app'))?.children.get('brittle/a')).toMatchObject({ incarnation: 2 })
  })

  test('[S56] the row of a supervisor that nobody builds any more is laid to rest', async () => {
    const a = await start('a', supervisor('old', { strategy: 'one_for_one', children: [brittle.spec({ key: 'a' })] }))
    await world.settle()
    a.kill()
    const b = await start('b', tree(3))
    await world.until(async () => (await rowOf(b, 'supervisor/old'))?.owner === null)
    const rounds = b.seen('recovery:stop').length
    await world.advance(5_000)
    expect(b.seen('recovery:stop').length).toBe(rounds)
  })
})

describe('giving up', () => {
  const tough = (): SupervisorDefinition =>
    supervisor('top', {
      strategy: 'one_for_one',
      children: [
        {
          ...supervisor('weak', {
            strategy: 'one_for_one',
            intensity: 1,
            periodMs: PERIOD_MS,
            children: [brittle.spec({ key: 'w' })],
          }),
          restart: 'transient',
        },
      ],
    })

  test('[S57] leaves a row and a failure; a fresh start tries again, and both stay', async () => {
    const a = await start('a', tough())
    await crash(a, 'w')
    await crash(a, 'w')
    await world.until(async () => (await treeOf(a, 'supervisor/weak'))?.gaveUp !== null)
    const inspect = new RuntimeInspect(a.core)
    const failures = await inspect.failures({ process: 'supervisor/weak' })
    expect(failures.items).toMatchObject([
      { class: 'GaveUp', decision: 'gave-up', error: { code: 'SUPERVISOR_GAVE_UP' } },
    ])
    expect((await inspect.state('supervisor/weak')).value).toMatchObject({ gaveUp: { child: 'brittle/w' } })
    inspect.close()
    a.kill()
    const b = await start('b', tough())
    expect(b.core.kernel.find('supervisor/weak')?.alive).toBe(true)
    await world.until(async () => (await treeOf(b, 'supervisor/weak'))?.gaveUp === null)
    expect(await told(b, 'supervisor/weak')).toContain('gave-up brittle/w')
    await crash(b, 'w')
    expect(b.core.kernel.find('supervisor/weak')?.alive).toBe(true)
    const after = new RuntimeInspect(b.core)
    expect((await after.failures({ process: 'supervisor/weak' })).items.length).toBe(1)
    after.close()
  })

  test('[S57] a pool beside the tree that gave up is tried again when it is needed in the next life', async () => {
    const a = await start('a', tree(3))
    const process = (node: TestNode, key: string): Process => {
      const found = node.core.tree.ensure(`late/${key}`, 'late', key, { spawned: true })
      if (found === null) throw new Error('late is known')
      return found
    }
    a.core.tree.add(late)
    for (let i = 0; i < 4; i++) a.core.kernel.crashProcess(process(a, `${i}`), new Error('on purpose'))
    await world.until(async () => (await treeOf(a, 'pool/late'))?.gaveUp != null)
    a.kill()
    const b = await start('b', tree(3))
    b.core.tree.add(late)
    expect(process(b, 'x').alive).toBe(true)
    await world.until(async () => (await treeOf(b, 'pool/late'))?.gaveUp === null)
    await world.advance(1_000)
    expect(process(b, 'x').alive).toBe(true)
  })

  test('[S57] a node that takes the row over keeps it given up', async () => {
    const a = await start('a', tough())
    const b = await start('b', tough())
    await crash(a, 'w')
    await crash(a, 'w')
    await world.until(async () => (await treeOf(a, 'supervisor/weak'))?.gaveUp != null)
    expect(b.core.kernel.find('supervisor/weak')?.alive).toBe(true)
    a.kill()
    await world.until(() => b.core.kernel.find('supervisor/weak')?.alive === false)
    expect(supervisorAt(b, 'weak').gaveUp).toBe(true)
    await world.until(async () => (await treeOf(b, 'supervisor/weak'))?.gaveUp?.child === 'brittle/w')
  })
})
