/** Links, monitors and names of durable processes over nodes, passivation and death: tests for both stores. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import { gate, type TestNode, type World } from './runtime.ts'

type Heard = { heard: string[]; turns: number }
type Ctx = Context<Heard>

const ACT = { actor: 'test' }
let run = 0
let hang = gate()
/** Whether the next wait hangs. */
let hanging = false

/** Ties itself to others and writes down what it hears. */
const watch = agent('watch', {
  state: (): Heard => ({ heard: [], turns: 0 }),
  on: {
    monitor: (ctx: Ctx, id: string) => ctx.monitor(id),
    link: (ctx: Ctx, id: string) => ctx.link(id),
    unlink: (ctx: Ctx, id: string) => ctx.unlink(id),
    demonitor: (ctx: Ctx, ref: string) => ctx.demonitor(ref),
    trap: (ctx: Ctx, on: boolean) => ctx.trapExit(on),
    take: (ctx: Ctx, name: string) => ctx.register(name),
    free: (ctx: Ctx, name: string) => ctx.unregister(name),
    find: (ctx: Ctx, name: string) => ctx.whereis(name),
    note(ctx: Ctx) {
      ctx.state.turns += 1
      return ctx.incarnation
    },
    async refuse(ctx: Ctx, id: string) {
      ctx.monitor(id)
      ctx.trapExit(true)
      await ctx.register(`refused ${ctx.key}`)
      throw new Error('no')
    },
    async wait(ctx: Ctx) {
      await ctx.step('wait', () => (hanging ? hang.promise : null))
    },
    leave: (ctx: Ctx) => ctx.exit(),
    fail: (ctx: Ctx) => ctx.exit({ error: new Error('failed') }),
    spawn: (ctx: Ctx, key: string) => void ctx.spawn(watch, key, { link: true, monitor: true }),
  },
  queries: { heard: (state) => state.heard, turns: (state) => state.turns },
  onDown: (ctx, { process, incarnation, reason }) => {
    ctx.state.heard.push(`down ${name(process)} ${incarnation} ${reason.kind}`)
  },
  onExit: (ctx, { from, incarnation, reason }) => {
    ctx.state.heard.push(`exit ${name(from)} ${incarnation} ${reason.kind}`)
  },
  maxAttempts: 1,
})

const other = agent('other', {
  state: () => ({ n: 0 }),
  on: {
    note: (ctx) => ++ctx.state.n,
    leave: (ctx) => ctx.exit(),
    fail: (ctx) => ctx.exit({ error: new Error('failed') }),
    take: (ctx, text: string) => ctx.register(text),
    find: (ctx, text: string) => ctx.whereis(text),
  },
  durability: 'ephemeral',
})

/** Keeps its monitor over passivation by making it in `activated`. */
const hooked = agent('hooked', {
  state: () => ({ heard: [] as string[] }),
  on: { note: () => null },
  queries: { heard: (state) => state.heard },
  activated: (ctx) => void ctx.monitor(`watch/${k('t')}`),
  onDown: (ctx, { reason }) => void ctx.state.heard.push(reason.kind),
})

/** Leaves memory in the middle of its turn. */
const sleeper = agent('sleeper', {
  state: () => null,
  passivateAfterMs: 50,
  on: {
    link: (ctx, peer: string) => ctx.link(peer),
    sleep: (ctx) => ctx.sleep(3_600_000),
  },
})

const k = (text: string): string => `${text}-${run}`
const id = (text: string): string => `watch/${k(text)}`
const name = (process: string): string => process.replace(`-${run}`, '')

export function tieScenarios(where: string, open: () => World): void {
  let world: World

  beforeEach(() => {
    world = open()
    run += 1
    hang = gate()
    hanging = false
  })
  afterEach(() => world.close())

  /** Members of `lasting` stay down when they ended normally. */
  const start = (text: string): Promise<TestNode> => {
    const children = [
      pool(watch, { restart: 'transient' }),
      pool(other, { restart: 'temporary' }),
      pool(hooked),
      pool(sleeper),
    ]
    return world.node(text, [watch, hooked, sleeper], {
      root: supervisor('app', { strategy: 'one_for_one', children }),
    })
  }
  const at = (node: TestNode, text: string) => node.ref(watch, k(text))
  const heard = (node: TestNode, text: string): Promise<string[]> =>
    node.call(at(node, text).heard() as PromiseLike<string[]>)
  const hears = (node: TestNode, text: string, what: readonly string[]): Promise<void> =>
    world.until(async () => (await heard(node, text)).length >= what.length, `${text} hears ${what}`)
  const expectHeard = async (node: TestNode, text: string, what: readonly string[]): Promise<void> => {
    await hears(node, text, what)
    // Whatever comes twice comes by the next look at the mailbox.
    node.core.layer.reread(id(text))
    await node.call(at(node, text).note())
    expect((await heard(node, text)).toSorted()).toEqual([...what].toSorted())
  }
  const incarnation = (node: TestNode, text: string): Promise<number> => node.call(at(node, text).note())
  const passivate = async (node: TestNode, text: string): Promise<void> => {
    const gone = (): boolean => {
      const process = node.core.kernel.find(id(text))
      return process === undefined || node.core.layer.passivate(process)
    }
    await world.until(gone, `${text} leaves memory`)
    await node.core.layer.released(id(text))
  }
  const ties = async (node: TestNode, text: string): Promise<string[]> => {
    const { archive, store } = node.core.backend.handle
    const record = await archive.process('default', id(text))
    const [loaded] = await store.load(node.core.node, record === null ? [] : [record.pid])
    return (loaded?.links ?? []).map((tie) => `${tie.kind} ${name(tie.peer)}`)
  }

  describe(`durable ties on ${where}`, () => {
    test('[P4] each monitor hears of the end once, and each life of its own', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      await a.call(at(a, 'w').monitor(id('t')))
      await a.call(at(a, 'w').monitor(id('t')))
      await world.run(a.control.kill(id('t'), ACT))
      await expectHeard(a, 'w', ['down watch/t 1 killed', 'down watch/t 1 killed'])
      expect(await incarnation(a, 't')).toBe(2)
      await a.call(at(a, 'w').monitor(id('t')))
      await world.run(a.control.kill(id('t'), ACT))
      const last = 'down watch/t 2 killed'
      await expectHeard(a, 'w', ['down watch/t 1 killed', 'down watch/t 1 killed', last])
      expect(await ties(a, 't')).toEqual([])
    })

    test('[P4] a passive watcher is woken, and passivation of the target tells nobody', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      await a.call(at(a, 'w').monitor(id('t')))
      await passivate(a, 'w')
      await passivate(a, 't')
      await a.call(at(a, 't').note())
      expect(a.core.kernel.find(id('w'))).toBeUndefined()
      expect(await ties(a, 'w')).toEqual(['monitor watch/t'])
      await a.call(at(a, 't').leave())
      await expectHeard(a, 'w', ['down watch/t 1 normal'])
    })

    test('[P4] a watcher on another node hears, also of an end whose node died before it said so', async () => {
      const [a, b] = [await start('a'), await start('b')]
      await a.call(at(a, 't').note())
      await a.call(at(a, 'u').note())
      await b.call(at(b, 'w').monitor(id('t')))
      await b.call(at(b, 'w').monitor(id('u')))
      await b.call(at(b, 'w').trap(true))
      await b.call(at(b, 'w').link(id('u')))
      await world.run(a.control.kill(id('t'), ACT))
      await expectHeard(b, 'w', ['down watch/t 1 killed'])
      a.faults.plan(({ batch }) =>
        batch.some((row) => row.ends !== undefined) ? { kind: 'die', when: 'after' } : undefined,
      )
      void a.control.kill(id('u'), ACT).catch(() => {})
      await world.until(() => a.dead)
      await expectHeard(b, 'w', ['down watch/t 1 killed', 'down watch/u 1 killed', 'exit watch/u 1 killed'])
    })

    test('[P4] the death of a node is no end: ties go on with the process and with the watcher', async () => {
      const [a, b] = [await start('a'), await start('b')]
      await a.call(at(a, 't').note())
      await a.call(at(a, 'w').monitor(id('t')))
      await a.call(at(a, 'w').trap(true))
      await a.call(at(a, 'w').link(id('t')))
      a.kill()
      await world.until(async () => {
        await world.settle()
        return (await b.core.backend.handle.archive.process('default', id('t')))?.owner === b.core.node.id
      }, 'b takes over')
      expect(await incarnation(b, 't')).toBe(1)
      expect(await heard(b, 'w')).toEqual([])
      await world.run(b.control.kill(id('t'), ACT))
      await expectHeard(b, 'w', ['down watch/t 1 killed', 'exit watch/t 1 killed'])
    })

    test('[P4] a tie leaves with its turn: a turn that fails ties nothing', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      await world.refusal(a.call(at(a, 'w').refuse(id('t'))))
      await a.call(at(a, 'w').note())
      expect(await ties(a, 'w')).toEqual([])
      expect(await a.core.messenger.whereis(`refused ${k('w')}`)).toBeNull()
      expect((await a.core.backend.handle.archive.process('default', id('w')))?.trapExit).toBe(false)
    })

    test('[P4] ties of a life end with it, and demonitor and unlink end them before', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      await a.call(at(a, 'w').monitor(id('t')))
      await world.run(a.control.kill(id('w'), ACT))
      await world.until(async () => (await incarnation(a, 'w')) === 2)
      const ref = await a.call(at(a, 'w').monitor(id('t')))
      await a.call(at(a, 'w').link(id('t')))
      await a.call(at(a, 'w').demonitor(String(ref)))
      await a.call(at(a, 'w').unlink(id('t')))
      expect(await ties(a, 't')).toEqual([])
      await world.run(a.control.kill(id('t'), ACT))
      await world.until(async () => (await incarnation(a, 't')) === 2)
      await expectHeard(a, 'w', [])
      expect(await incarnation(a, 'w')).toBe(2)
    })

    test('[P4] a down message that is queued when its monitor is dissolved is not heard', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      const ref = await a.call(at(a, 'w').monitor(id('t')))
      hanging = true
      await world.run(a.send(at(a, 'w').wait()))
      await world.until(() => a.core.kernel.find(id('w'))?.wait?.kind === 'step')
      await world.run(a.send(at(a, 'w').demonitor(String(ref))))
      await world.run(a.control.kill(id('t'), ACT))
      await world.until(() => a.core.kernel.find(id('w'))?.mailboxLength === 2, 'the down message is queued')
      hang.open()
      await expectHeard(a, 'w', [])
      expect(await a.core.backend.handle.store.messages('default', id('w'), 0, 10)).toEqual([])
    })

    test('[P4] monitors made in activated are made once per life, however often it is activated', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      const ref = a.ref(hooked, k('h'))
      for (let i = 0; i < 3; i++) {
        await a.call(ref.note())
        await world.until(() => {
          const process = a.core.kernel.find(`hooked/${k('h')}`)
          return process === undefined || a.core.layer.passivate(process)
        })
        await a.core.layer.released(`hooked/${k('h')}`)
      }
      expect(await ties(a, 't')).toEqual(['monitored hooked/h'])
    })

    test('[P5] what does not exist or has ended is noproc, once', async () => {
      const a = await start('a')
      await a.call(at(a, 'w').monitor(id('nobody')))
      await expectHeard(a, 'w', ['down watch/nobody 0 noproc'])
      await a.call(at(a, 'gone').leave())
      await world.until(
        async () => (await a.core.backend.handle.archive.process('default', id('gone')))?.owner === null,
      )
      await a.call(at(a, 'w').trap(true))
      await a.call(at(a, 'w').link(id('gone')))
      await expectHeard(a, 'w', ['down watch/nobody 0 noproc', 'exit watch/gone 2 noproc'])
      expect(await ties(a, 'w')).toEqual([])
    })

    test('[P5] a node that dies before it looks leaves the look to whoever takes over', async () => {
      const [a, b] = [await start('a'), await start('b')]
      b.faults.next('sweepTies', { kind: 'die', when: 'before' })
      await world.run(b.send(at(b, 'w').monitor(id('nobody'))))
      await world.until(() => b.dead)
      expect(await ties(a, 'w')).toEqual(['monitor watch/nobody'])
      await expectHeard(a, 'w', ['down watch/nobody 0 noproc'])
    })

    test('[P5] a tie made while its peer ends on another node is heard of once', async () => {
      const [a, b] = [await start('a'), await start('b')]
      const keys = Array.from({ length: 12 }, (_, i) => `${i}`)
      for (const key of keys) {
        await a.call(at(a, `t${key}`).note())
        await b.call(at(b, `w${key}`).note())
      }
      const both = keys.flatMap((key) => [
        b.core.messenger.send(at(b, `w${key}`).monitor(id(`t${key}`)) as never),
        a.control.kill(id(`t${key}`), ACT),
      ])
      await world.run(Promise.all(both))
      for (const key of keys) {
        await b.call(at(b, `w${key}`).note())
        await world.until(async () => (await incarnation(a, `t${key}`)) === 2)
        // Tied to the first life, which is heard of, or to the second.
        await world.until(async () => {
          const tied = (await ties(a, `w${key}`)).length
          return (await heard(b, `w${key}`)).length + tied === 1
        })
        const before = await heard(b, `w${key}`)
        await world.run(a.control.kill(id(`t${key}`), ACT))
        await hears(b, `w${key}`, ['once'])
        await expectHeard(b, `w${key}`, before.length > 0 ? before : [`down watch/t${key} 2 killed`])
      }
    })

    test('[P6] an exit signal ends what does not trap, in that life only, and in the middle of a turn', async () => {
      const a = await start('a')
      await a.call(at(a, 't').note())
      await a.call(at(a, 'w').link(id('t')))
      hanging = true
      await world.run(a.send(at(a, 'w').wait()))
      await world.until(() => a.core.kernel.find(id('w'))?.wait?.kind === 'step')
      hanging = false
      await world.run(a.control.kill(id('t'), ACT))
      await world.until(() => (a.core.kernel.find(id('w'))?.incarnation ?? 0) === 2)
      expect(await incarnation(a, 'w')).toBe(2)
      expect(await heard(a, 'w')).toEqual([])
      const ended = a.seen('process:exit').filter((event) => event.id === id('w'))
      expect(ended.map((event) => event.reason)).toEqual(['killed'])
      expect(await a.core.backend.handle.store.messages('default', id('w'), 0, 10)).toEqual([])
    })

    test('[P6] two ends at once end a linked process once: the second signal is for a life that is over', async () => {
      const [a, b] = [await start('a'), await start('b')]
      for (const text of ['t', 'u']) await b.call(at(b, text).note())
      await a.call(at(a, 'w').link(id('t')))
      await a.call(at(a, 'w').link(id('u')))
      // Both rows are in the store before either is told of.
      const held = gate()
      a.faults.plan(({ method }) => (method === 'messages' ? { kind: 'hold', until: held.promise } : undefined))
      await world.run(Promise.all([b.control.kill(id('t'), ACT), b.control.kill(id('u'), ACT)]))
      const rows = () => b.core.backend.handle.store.messages('default', id('w'), 0, 10)
      await world.until(async () => (await rows()).length === 2)
      held.open()
      await world.until(async () => (await rows()).length === 0)
      expect(await incarnation(a, 'w')).toBe(2)
      expect(a.seen('process:exit').filter((event) => event.id === id('w'))).toHaveLength(1)
    })

    test('[P6] an exit signal stored for an earlier life is dropped by a later one', async () => {
      const [a, b] = [await start('a'), await start('b')]
      await b.call(at(b, 't').note())
      await a.call(at(a, 'w').link(id('t')))
      const held = gate()
      a.faults.plan(({ method }) => (method === 'messages' ? { kind: 'hold', until: held.promise } : undefined))
      await world.run(b.control.kill(id('t'), ACT))
      await world.run(a.control.kill(id('w'), ACT))
      await world.until(() => (a.core.kernel.find(id('w'))?.incarnation ?? 0) === 2)
      held.open()
      const { store } = b.core.backend.handle
      await world.until(async () => (await store.messages('default', id('w'), 0, 9)).length === 0)
      expect(await incarnation(a, 'w')).toBe(2)
    })

    test('[P6] a passive linked process ends too, and a normal end ends nobody', async () => {
      const a = await start('a')
      for (const text of ['t', 'u']) await a.call(at(a, text).note())
      await a.call(at(a, 'w').link(id('t')))
      await a.call(at(a, 'w').link(id('u')))
      await passivate(a, 'w')
      await a.call(at(a, 'u').leave())
      await world.until(async () => (await ties(a, 'w')).length === 1)
      expect(await incarnation(a, 'w')).toBe(1)
      await passivate(a, 'w')
      await a.call(at(a, 't').fail())
      await world.until(async () => {
        return ((await a.core.backend.handle.archive.process('default', id('w')))?.incarnation ?? 0) === 2
      })
      expect(await incarnation(a, 'w')).toBe(2)
    })

    test('[P6] a process that left memory in the middle of a turn ends too', async () => {
      const a = await start('a')
      const process = `sleeper/${k('s')}`
      await a.call(at(a, 't').note())
      await a.call(a.ref(sleeper, k('s')).link(id('t')))
      await world.run(a.send(a.ref(sleeper, k('s')).sleep()))
      await world.until(() => a.core.kernel.find(process) === undefined, 'parking')
      await a.call(at(a, 't').fail())
      await world.until(() => (a.core.kernel.find(process)?.incarnation ?? 0) === 2, 'the second life')
      // The message whose turn it was is left to it, the signal is not.
      const left = await a.core.backend.handle.store.messages('default', process, 0, 9)
      expect(left.map(({ op }) => op)).toEqual(['sleep'])
    })

    test('[P6] trapExit survives passivation and the death of the node, not the life', async () => {
      const [a, b] = [await start('a'), await start('b')]
      for (const text of ['t', 'u']) await b.call(at(b, text).note())
      await a.call(at(a, 'w').trap(true))
      await a.call(at(a, 'w').link(id('t')))
      await a.call(at(a, 'w').link(id('u')))
      await passivate(a, 'w')
      await world.run(b.control.kill(id('t'), ACT))
      await expectHeard(a, 'w', ['exit watch/t 1 killed'])
      a.kill()
      await world.run(b.control.kill(id('u'), ACT))
      await expectHeard(b, 'w', ['exit watch/t 1 killed', 'exit watch/u 1 killed'])
      expect(await incarnation(b, 'w')).toBe(1)
      await world.run(b.control.kill(id('w'), ACT))
      await world.until(async () => (await incarnation(b, 'w')) === 2)
      expect(b.core.kernel.find(id('w'))?.trapExit).toBe(false)
    })

    test('[P6] a spawned child is tied from its first commit on', async () => {
      const a = await start('a')
      await a.call(at(a, 'w').trap(true))
      await a.call(at(a, 'w').spawn(k('child')))
      await a.call(at(a, 'child').note())
      await world.run(a.control.kill(id('child'), ACT))
      await expectHeard(a, 'w', ['down watch/child 1 killed', 'exit watch/child 1 killed'])
    })

    test('[P7] the end of an ephemeral peer is heard of in memory, after the death of its node as noproc', async () => {
      const [a, b] = [await start('a'), await start('b')]
      const peers = ['x', 'y'].map((text) => ({ text, ref: a.ref(other, k(text)) }))
      for (const { text, ref } of peers) {
        await a.call(ref.note())
        await a.call(at(a, 'w').monitor(`other/${k(text)}`))
      }
      await a.call(peers[0]?.ref.fail() ?? expect.fail())
      await expectHeard(a, 'w', ['down other/x 1 crash'])
      await world.until(async () => (await ties(a, 'w')).length === 1)
      a.kill()
      await expectHeard(b, 'w', ['down other/x 1 crash', 'down other/y 0 noproc'])
      await world.until(async () => (await ties(b, 'w')).length === 0)
    })

    test('[P8] a name has one holder over nodes, kept by passivation and recovery, free after the exit', async () => {
      const [a, b] = [await start('a'), await start('b')]
      const main = k('main')
      await a.call(at(a, 'w').take(main))
      await a.call(at(a, 'w').take(main))
      await passivate(a, 'w')
      expect(await b.core.messenger.whereis(main)).toBe(id('w'))
      expect(await b.call(at(b, 'v').find(main))).toBe(id('w'))
      expect(await b.call(b.ref(other, k('x')).find(main))).toBe(id('w'))
      await a.call(at(a, 'w').note())
      a.kill()
      expect((await world.refusal(b.call(at(b, 'v').take(main)))).message).toContain('belongs to')
      expect((await world.refusal(b.call(b.ref(other, k('x')).take(main)))).message).toContain('belongs to')
      await world.until(async () => (await incarnation(b, 'w')) === 1)
      await world.run(b.control.kill(id('w'), ACT))
      await world.until(async () => (await b.core.messenger.whereis(main)) === null)
      await b.call(at(b, 'v').take(main))
      expect(await b.core.messenger.whereis(main)).toBe(id('v'))
      await b.call(at(b, 'v').free(main))
      expect(await b.core.messenger.whereis(main)).toBeNull()
    })

    test('[P8] a name taken between the question and the commit fails the turn as NAME_TAKEN, alone', async () => {
      const [a, b] = [await start('a'), await start('b')]
      const main = k('race')
      await b.call(at(b, 'v').note())
      const held = gate()
      const free = a.faults.plan(({ batch }) =>
        batch.some((row) => row.names !== undefined) ? { kind: 'hold', until: held.promise } : undefined,
      )
      const late = a.core.messenger.call(at(a, 'w').take(main) as never).then(
        () => 'taken',
        (error: Error) => error.message,
      )
      await world.until(() => (a.core.kernel.find(id('w'))?.alive ?? false) && a.faults.counts.has('whereis'))
      await b.call(at(b, 'v').take(main))
      free()
      held.open()
      expect(await world.run(late)).toContain('taken by another process')
      const failures = await a.core.backend.handle.archive.failures('default', { process: id('w'), limit: 5 })
      expect(failures.map((failure) => failure.error.code)).toContain('NAME_TAKEN')
      expect(await a.core.messenger.whereis(main)).toBe(id('v'))
      expect(await incarnation(a, 'v')).toBe(1)
    })
  })
}
