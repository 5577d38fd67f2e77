/** The turn protocol on a real Postgres: several nodes, deaths, lost answers, poisonous rows. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { testDatabase } from '../support/database.ts'
import { gate, Oracle, World } from '../support/runtime.ts'

const database = testDatabase()
let world: World
let oracle: Oracle
let run = 0

beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
  run += 1
})
afterEach(() => world.close())

/** Keys of one test: all tests of the file share a database. */
const k = (name: string): string => `${name}-${run}`

const counter = agent('counter', {
  state: () => ({ n: 0, seen: [] as string[] }),
  on: {
    add(ctx, name: string) {
      oracle.hit(name)
      ctx.state.n += 1
      ctx.state.seen.push(name)
      return ctx.state.n
    },
    poison(ctx) {
      ctx.state.n += 100
      ctx.after(1_000, 'add', 'x', { name: 'bad \u0000 name' })
    },
    crash(_ctx, text: string) {
      throw new Error(`bad \u0000 text \ud800 ${text}`)
    },
    async slow(ctx, name: string) {
      await ctx.step('effect', () => oracle.hit(`effect ${name}`))
      await ctx.step('hang', () => (oracle.hit(`hang ${name}`) === 1 ? new Promise(() => {}) : null))
      ctx.state.seen.push(name)
      return ctx.state.seen.length
    },
    odd(ctx, value: unknown) {
      ctx.state.seen = [JSON.stringify(value)]
      return value as string
    },
  },
  queries: { n: (state) => state.n },
})

const caller = agent('caller', {
  state: () => ({ got: [] as number[] }),
  on: {
    async ask(ctx, { key, times }: { key: string; times: number }) {
      for (let i = 0; i < times; i++) ctx.state.got.push(await ctx.ref(counter, key).add(`call ${i}`))
      return ctx.state.got
    },
  },
})

const codeOf = (error: unknown): unknown => (error as { code: string }).code

describe('poison', () => {
  test('[C2] a row Postgres cannot take fails alone; its neighbours in the batch are stored', async () => {
    const node = await world.node('a', [counter])
    const keys = Array.from({ length: 30 }, (_, i) => k(`p${i}`))
    await Promise.all(keys.map((key) => node.ref(counter, key).add('warm').run()))
    const outcomes = await Promise.all(
      keys.map((key, i) =>
        (i === 11 ? node.ref(counter, key).poison().run() : node.ref(counter, key).add('x').run()).catch(codeOf),
      ),
    )
    expect(outcomes.filter((outcome) => outcome === 2).length).toBe(29)
    expect(outcomes[11]).toBe('DEAD_LETTERED')
    expect(await node.stored(`counter/${keys[11]}`)).toMatchObject({ n: 1 })
    expect(await node.ref(counter, keys[11] ?? '').add('after')).toBe(2)
  })

  test('[P1] an error whose text Postgres cannot take is recorded and stops nobody', async () => {
    const node = await world.node('a', [counter])
    expect(await node.ref(counter, k('c')).crash('x').run().catch(codeOf)).toBe('DEAD_LETTERED')
    const id = `counter/${k('c')}`
    const failures = await node.core.backend.handle.archive.failures('default', { process: id, limit: 10 })
    expect(failures.length).toBe(3)
    expect(failures[0]?.error.message).toContain('bad \ufffd text \ufffd x')
    expect(await node.ref(counter, k('c')).add('y')).toBe(1)
  })

  test('[T6] odd texts in messages and state survive the database', async () => {
    const node = await world.node('a', [counter])
    const odd = { '\u0000': '\ud800', $date: -0, '': ['\u001e', '\u001f', '\u001d', 'é😀'] }
    expect(await node.ref(counter, k('o')).odd(odd)).toEqual(odd)
    const handle = await node.start(node.ref(counter, k('o')).odd(odd), { idempotencyKey: k('key') })
    expect(await handle.result()).toEqual(odd)
  })
})

describe('nodes', () => {
  test('[N3] a lost answer is read back, once stored and once answered', async () => {
    const node = await world.node('a', [counter])
    await node.ref(counter, k('l')).add('first')
    node.faults.next('commit', { kind: 'lost' })
    expect(await node.ref(counter, k('l')).add('a')).toBe(2)
    node.faults.next('commit', { kind: 'fail', failure: 'unavailable' }, 2)
    expect(await node.ref(counter, k('l')).add('b')).toBe(3)
    expect(oracle.log).toEqual(['first', 'a', 'b'])
  })

  test('[N6][T3] a killed node is known dead by its session; its open turn goes on, steps not repeated', async () => {
    const a = await world.node('a', [counter])
    const b = await world.node('b', [counter])
    await a.send(a.ref(counter, k('s')).slow('x'))
    await world.until(() => oracle.count('hang x') === 1)
    await world.advance(100)
    a.kill()
    await world.until(async () => ((await b.stored(`counter/${k('s')}`)) as { seen: string[] }).seen.includes('x'))
    oracle.expectStep('effect x').once()
    oracle.expectStep('hang x').times(2)
  })

  test('[M2] calls between processes of two nodes happen once each, in order', async () => {
    const a = await world.node('a', [caller, counter])
    const b = await world.node('b', [caller, counter])
    await b.ref(counter, k('r')).add('first')
    expect(await a.ref(caller, k('c')).ask({ key: k('r'), times: 20 })).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 2),
    )
    expect(a.core.kernel.find(`counter/${k('r')}`)?.alive ?? false).toBe(false)
    expect(await b.ref(counter, k('r')).n()).toBe(21)
  })

  test('[M2] a caller killed in the middle of its calls: each is carried out once', async () => {
    const a = await world.node('a', [caller, counter])
    const b = await world.node('b', [caller, counter])
    await b.ref(counter, k('r')).add('first')
    a.faults.plan(({ method, n }) => (method === 'commit' && n === 6 ? { kind: 'die', when: 'after' } : undefined))
    const handle = await a.start(a.ref(caller, k('c')).ask({ key: k('r'), times: 8 }), { idempotencyKey: k('ask') })
    expect(handle.created).toBe(true)
    await world.until(() => a.dead)
    const again = await b.start(b.ref(caller, k('c')).ask({ key: k('r'), times: 8 }), { idempotencyKey: k('ask') })
    expect(await again.result()).toEqual(Array.from({ length: 8 }, (_, i) => i + 2))
    for (let i = 0; i < 8; i++) oracle.expectStep(`call ${i}`).once()
  })

  test('[N1][N2] a node that lost its epoch writes nothing, and hears hints again once it joined anew', async () => {
    const a = await world.node('a', [counter])
    await a.ref(counter, k('e')).add('first')
    const { epoch } = a.core.node
    const stored = gate()
    a.faults.next('commit', { kind: 'hold', until: stored.promise })
    const lost = a.ref(counter, k('e')).add('void').run().catch(codeOf)
    await world.settle()
    const b = await world.node('b', [counter])
    const { store } = b.core.backend.handle
    expect(await store.buryNode(b.core.node, a.core.node, 'host')).toBe(true)
    expect(await b.ref(counter, k('e')).add('b')).toBe(2)
    stored.open()
    expect(await lost).toBe('CALL_OUTCOME_UNKNOWN')
    await world.until(() => a.core.node.epoch !== epoch)
    expect(await a.ref(counter, k('e')).add('via a')).toBe(3)
    expect(await a.ref(counter, k('new')).add('x')).toBe(1)
    expect(await b.ref(counter, k('new')).add('y')).toBe(2)
    expect(await b.stored(`counter/${k('e')}`)).toEqual({ n: 3, seen: ['first', 'b', 'via a'] })
  })

  test('[M1][M5] messages sent from two nodes to one process are handled once, each sender in order', async () => {
    const a = await world.node('a', [counter])
    const b = await world.node('b', [counter])
    await a.ref(counter, k('m')).add('first')
    for (let i = 0; i < 25; i++)
      await Promise.all([a.send(a.ref(counter, k('m')).add(`a${i}`)), b.send(b.ref(counter, k('m')).add(`b${i}`))])
    await world.until(() => oracle.log.length >= 51)
    await world.advance(200)
    expect(oracle.log.length).toBe(51)
    for (const of of ['a', 'b']) {
      expect(oracle.log.filter((name) => name.startsWith(of))).toEqual(
        Array.from({ length: 25 }, (_, i) => `${of}${i}`),
      )
    }
  })
})
