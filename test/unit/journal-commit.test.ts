/** Commits that go wrong: run-ahead, refusals, lost answers, foreign owners, lost epochs, poison beside neighbours. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { AHEAD_MAX } from '../../server/journal/record.ts'
import type { Commit } from '../../server/store/store.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const counter = agent('counter', {
  state: () => ({ n: 0, seen: [] as string[] }),
  on: {
    add(ctx, name: string) {
      oracle.hit(name)
      ctx.state.n += 1
      ctx.state.seen.push(name)
      return ctx.state.n
    },
    async careful(ctx, name: string) {
      await ctx.step('effect', () => oracle.hit(`effect ${name}`))
      ctx.state.seen.push(name)
      return ctx.state.seen.length
    },
    rearm: (ctx) => ctx.after(10, 'add', 'timer', { name: 't' }),
    nap: (ctx) => ctx.sleep(3_600_000),
    hang: (ctx) => ctx.step('hang', () => new Promise<void>(() => void oracle.hit('hangs'))),
  },
  queries: { n: (state) => state.n },
})

const has = (row: Commit, text: string): boolean => row.payload.includes(text)

/** Every batch with a row that holds the text is refused, as a poisonous row would be. */
function poison(node: TestNode, text: string): () => void {
  return node.faults.plan(({ method, batch }) =>
    method === 'commit' && batch.some((row) => has(row, text)) ? { kind: 'fail', failure: 'rejected' } : undefined,
  )
}

async function held(node: TestNode): Promise<{ open(): void }> {
  await node.call(node.ref(counter, 'k').add('first'))
  const stored = gate()
  node.faults.next('commit', { kind: 'hold', until: stored.promise })
  node
    .ref(counter, 'k')
    .add('flying')
    .run()
    .catch(() => {})
  await world.settle()
  return stored
}

describe('run-ahead', () => {
  test('[T7] turns run ahead of their rows; answers and queries wait for them; one carries several', async () => {
    const node = await world.node('a', [counter])
    const stored = await held(node)
    const answers: number[] = []
    for (const name of ['a', 'b', 'c'])
      void node
        .ref(counter, 'k')
        .add(name)
        .then((n) => answers.push(n))
    await world.settle()
    expect(oracle.log).toEqual(['first', 'flying', 'a', 'b', 'c'])
    expect(answers).toEqual([])
    expect(await node.call(node.ref(counter, 'k').n())).toBe(1)
    stored.open()
    await world.until(() => answers.length === 3)
    expect(answers).toEqual([3, 4, 5])
    expect(node.faults.committed.length).toBeLessThan(4)
    expect(node.faults.committed.at(-1)?.meta.turnIds.length).toBeGreaterThan(1)
  })

  test('[T7] at most AHEAD_MAX turns run ahead, and a killed one of them does not run twice', async () => {
    const node = await world.node('a', [counter])
    const stored = await held(node)
    const sent = Array.from({ length: AHEAD_MAX + 20 }, (_, i) => `m${i}`)
    for (const name of sent)
      node
        .ref(counter, 'k')
        .add(name)
        .run()
        .catch(() => {})
    await world.advance(5)
    expect(oracle.log.length).toBe(1 + AHEAD_MAX)
    const kill = node.control.kill('counter/k', { actor: 'test' })
    await world.settle()
    stored.open()
    await world.run(kill)
    await world.until(() => oracle.log.length >= sent.length + 2)
    await world.advance(1_000)
    expect(oracle.log).toEqual(['first', 'flying', ...sent])
  })

  test('[T7] the first step of a turn waits for everything before it', async () => {
    const node = await world.node('a', [counter])
    const stored = await held(node)
    node.ref(counter, 'k').add('a').run()
    node.ref(counter, 'k').careful('b').run()
    await world.advance(50)
    expect(oracle.count('a')).toBe(1)
    oracle.expectStep('effect b').times(0)
    stored.open()
    await world.until(() => oracle.count('effect b') === 1)
  })
})

describe('a refused row', () => {
  test('[T7] in the middle of many turns only the one at fault fails, the others run again one per row', async () => {
    const node = await world.node('a', [counter])
    const stored = await held(node)
    const outcomes: Record<string, unknown> = {}
    for (const name of ['a', 'b', 'bad', 'c', 'd']) {
      node
        .ref(counter, 'k')
        .add(name)
        .run()
        .then(
          (n) => (outcomes[name] = n),
          (error: { code: string }) => (outcomes[name] = error.code),
        )
    }
    await world.settle()
    poison(node, '"bad"')
    stored.open()
    await world.until(() => Object.keys(outcomes).length === 5)
    expect(outcomes).toEqual({ a: 3, b: 4, bad: 'DEAD_LETTERED', c: 5, d: 6 })
    expect(await node.stored('counter/k')).toEqual({ n: 6, seen: ['first', 'flying', 'a', 'b', 'c', 'd'] })
    const letters = await node.core.backend.handle.archive.deadLetters('default', { limit: 10 })
    expect(letters.map((letter) => letter.op)).toEqual(['add'])
    expect(oracle.count('bad')).toBeGreaterThanOrEqual(3)
  })

  test('[T7] the message in hand follows those before it and runs once on the right state', async () => {
    const node = await world.node('a', [counter])
    const stored = await held(node)
    const done: string[] = []
    for (const name of ['a', 'bad'])
      node
        .ref(counter, 'k')
        .add(name)
        .run()
        .then(
          () => done.push(name),
          () => done.push(name),
        )
    void node
      .ref(counter, 'k')
      .careful('last')
      .then(() => done.push('last'))
    await world.settle()
    poison(node, '"bad"')
    stored.open()
    await world.until(() => done.length === 3)
    await world.advance(1_000)
    expect(await node.stored('counter/k')).toEqual({ n: 3, seen: ['first', 'flying', 'a', 'last'] })
    oracle.expectStep('effect last').once()
    expect(done).toEqual(['a', 'bad', 'last'])
  })

  test('[C2] neighbours in one batch with a poisonous row are stored', async () => {
    const node = await world.node('a', [counter])
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`)
    await world.run(Promise.all(keys.map((key) => node.ref(counter, key).add('warm').run())))
    poison(node, '"bad"')
    const answers = keys.map((key, i) =>
      node
        .ref(counter, key)
        .add(i === 17 ? 'bad' : 'good')
        .run()
        .then(
          (n) => n,
          (error: { code: string }) => error.code,
        ),
    )
    const outcomes = await world.run(Promise.all(answers))
    expect(outcomes.filter((outcome) => outcome === 2).length).toBe(39)
    expect(outcomes[17]).toBe('DEAD_LETTERED')
  })

  test('[C2] contention is tried again until it passes', async () => {
    const node = await world.node('a', [counter])
    node.faults.next('commit', { kind: 'fail', failure: 'contended' }, 5)
    expect(await node.call(node.ref(counter, 'k').add('a'))).toBe(1)
    expect(oracle.count('a')).toBe(1)
  })

  test('[C2] while the store is gone turns wait, nothing fails, and all are stored when it is back', async () => {
    const node = await world.node('a', [counter])
    await node.call(node.ref(counter, 'k').add('first'))
    const back = node.faults.outage()
    const answers = ['a', 'b'].map((name) => node.ref(counter, 'k').add(name).run())
    await world.advance(1_000)
    expect(node.seen('store:down').length).toBe(1)
    back()
    expect(await world.run(Promise.all(answers))).toEqual([2, 3])
    expect(node.seen('store:up').length).toBe(1)
    expect(node.core.kernel.find('counter/k')?.stats.failures).toBe(0)
  })

  test('[M1] a message whose row is gone was handled before: no repeated turn, no attempt spent', async () => {
    const node = await world.node('a', [counter])
    await node.call(node.ref(counter, 'k').add('first'))
    const id = await node.call(node.send(node.ref(counter, 'k').add('once')))
    await world.advance(20)
    const process = node.core.kernel.find('counter/k')
    // The same hint again, after its row was consumed.
    node.core.layer.deliver({
      ...{ id, target: 'counter/k', kind: 'send', op: 'add', sender: null, n: 0, args: '"once"', replyTo: null },
      ...{ cause: null, root: null, chain: [], traceparent: null, actor: null, deadline: null, timer: null },
      ...{ ord: 1, at: 0, attempts: 0, recoveries: 0 },
    })
    expect(await node.call(node.ref(counter, 'k').add('after'))).toBe(3)
    await world.advance(2_000)
    expect(await node.stored('counter/k')).toEqual({ n: 3, seen: ['first', 'once', 'after'] })
    expect(await node.core.backend.handle.archive.deadLetters('default', { limit: 10 })).toMatchObject({ length: 0 })
    expect(process?.status).toBe('idle')
  })
})

describe('fencing', () => {
  test('[N3] a lost answer is read back: stored once, answered once', async () => {
    const node = await world.node('a', [counter])
    await node.call(node.ref(counter, 'k').add('first'))
    node.faults.next('commit', { kind: 'lost' })
    expect(await node.call(node.ref(counter, 'k').add('a'))).toBe(2)
    expect(await node.call(node.ref(counter, 'k').add('b'))).toBe(3)
    expect(oracle.log).toEqual(['first', 'a', 'b'])
    expect(await node.stored('counter/k')).toEqual({ n: 3, seen: ['first', 'a', 'b'] })
  })

  test('[N3] a failure before anything was written is sent again, not run again', async () => {
    const node = await world.node('a', [counter])
    node.faults.next('commit', { kind: 'fail', failure: 'unavailable' }, 3)
    expect(await node.call(node.ref(counter, 'k').add('a'))).toBe(1)
    expect(oracle.count('a')).toBe(1)
  })

  test('[M5] messages whose positions were lost with the answer still arrive before later ones', async () => {
    const sender = agent('sender', {
      state: () => ({ n: 0 }),
      on: {
        go(ctx, names: string[]) {
          ctx.state.n += 1
          for (const name of names) ctx.send(ctx.ref(counter, 'r').add(name))
        },
      },
    })
    const node = await world.node('a', [counter, sender])
    await node.call(node.ref(counter, 'r').add('0'))
    await node.call(node.ref(sender, 's').go(['1']))
    await world.until(() => oracle.count('1') === 1)
    const slow = gate()
    node.faults.next('commit', { kind: 'lost' })
    node.faults.next('messages', { kind: 'hold', until: slow.promise })
    await node.call(node.ref(sender, 's').go(['2', '3']))
    await node.call(node.ref(sender, 's').go(['4']))
    await world.advance(20)
    slow.open()
    await world.until(() => oracle.count('4') === 1)
    expect(oracle.log).toEqual(['0', '1', '2', '3', '4'])
  })

  test('[N1][N3] a foreign claim ends the incarnation as fenced; its caller does not know the outcome', async () => {
    const a = await world.node('a', [counter])
    const stored = await held(a)
    const lost = world.refusal(a.ref(counter, 'k').add('void'))
    await world.settle()
    // Its session died, so another node may take over; the first one does not know yet.
    world.db?.sessions.delete(a.core.node.id)
    const b = await world.node('b', [counter])
    expect(await b.call(b.ref(counter, 'k').add('b'))).toBe(2)
    stored.open()
    expect((await lost).code).toBe('CALL_OUTCOME_UNKNOWN')
    await world.until(() => a.seen('process:fenced').length > 0)
    expect(await b.stored('counter/k')).toEqual({ n: 2, seen: ['first', 'b'] })
  })

  test('[N1] the caller of a turn that another node took over in the middle does not know the outcome', async () => {
    const a = await world.node('a', [counter])
    const lost = a.ref(counter, 'k').hang().run({ timeoutMs: 3_600_000 })
    lost.catch(() => {})
    await world.until(() => oracle.count('hangs') === 1)
    world.db?.sessions.delete(a.core.node.id)
    await world.node('b', [counter])
    expect((await world.refusal(lost)).code).toBe('CALL_OUTCOME_UNKNOWN')
  })

  test('[N2] a node that lost its epoch writes nothing more and joins anew; no intensity is spent', async () => {
    const a = await world.node('a', [counter])
    await a.call(a.ref(counter, 'k').add('first'))
    const epoch = a.core.node.epoch
    world.db?.sessions.delete(a.core.node.id)
    const b = await world.node('b', [counter])
    expect(await b.call(b.ref(counter, 'k').add('b'))).toBe(2)
    await world.until(() => a.core.node.epoch !== epoch)
    await world.advance(100)
    expect(await a.call(a.ref(counter, 'k').add('via a'))).toBe(3)
    expect(await a.call(a.ref(counter, 'new').add('x'))).toBe(1)
    expect(a.core.kernel.find('counter/k')).toBeUndefined()
    expect(a.seen('supervisor:give-up')).toEqual([])
  })

  test('[N2] an activation that finds the epoch gone waits for the new one instead of failing', async () => {
    const a = await world.node('a', [counter])
    world.db?.sessions.delete(a.core.node.id)
    await world.node('b', [counter])
    expect(await a.call(a.ref(counter, 'fresh').add('x'))).toBe(1)
  })

  test('[N10] what is written for somebody outside as the epoch ends is written under the next one, once', async () => {
    const fence = async (): Promise<void> => {
      world.db?.sessions.delete(a.core.node.id)
      await world.node('buries', [])
    }
    const a = await world.node('a', [counter])
    await fence()
    await world.run(a.send(a.ref(counter, 'k').add('sent')))
    await fence()
    const handle = await world.run(a.core.messenger.begin(a.ref(counter, 'l').nap(), { idempotencyKey: 'n' }))
    await fence()
    expect(await world.run(handle.cancel())).toBe(true)
    expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
    expect(oracle.count('sent')).toBe(1)
  })

  test('[N4] one activation serves all who ask at once; a process of a live node is not stolen', async () => {
    const a = await world.node('a', [counter])
    const b = await world.node('b', [counter])
    const claims = a.faults.counts.get('claim') ?? 0
    const calls = Array.from({ length: 20 }, (_, i) => a.ref(counter, 'k').add(`${i}`).run())
    await world.run(Promise.all(calls))
    expect(a.faults.counts.get('claim')).toBe(claims + 1)
    expect(await b.call(b.ref(counter, 'k').add('from b'))).toBe(21)
    expect(b.core.kernel.find('counter/k')).toBeUndefined()
    expect(oracle.count('from b')).toBe(1)
  })

  test('[N4][M1] messages stored for a process of another node are handled there, each once', async () => {
    const a = await world.node('a', [counter])
    const b = await world.node('b', [counter])
    await a.call(a.ref(counter, 'k').add('first'))
    const sent = ['1', '2', '3', '4', '5']
    await world.run(Promise.all(sent.map((name) => b.send(b.ref(counter, 'k').add(name)))))
    await world.until(() => oracle.count('5') === 1)
    await world.advance(3_000)
    expect(oracle.log).toEqual(['first', ...sent])
  })

  test('[N5] no snapshot is taken between the end of an accepted turn and its row', async () => {
    const big = agent('big', {
      state: () => ({ text: '', n: 0 }),
      on: {
        fill(ctx, text: string) {
          ctx.state.text = text
        },
        async work(ctx) {
          await ctx.step('s', () => oracle.hit('s'))
          await ctx.step('t', () => oracle.hit('t')) // waits until the result of the first is stored
          ctx.state.n += 1
        },
      },
    })
    const a = await world.node('a', [big])
    await a.call(a.ref(big, 'k').fill('x'.repeat(40_000)))
    const stored = gate()
    // A snapshot is due, and the row with the end of an accepted turn is on its way for ever.
    a.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => has(row, '"k":"end"'))
        ? { kind: 'hold', until: stored.promise }
        : undefined,
    )
    a.ref(big, 'k')
      .work()
      .run()
      .catch(() => {})
    await world.until(() => oracle.count('t') === 1)
    await world.advance(1_000)
    a.kill()
    const b = await world.node('b', [big])
    await world.until(async () => ((await b.stored('big/k')) as { n: number } | undefined)?.n === 1)
    oracle.expectStep('s').once()
  })
})
