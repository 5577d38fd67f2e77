/** Operator verbs on the turn at hand: skipped messages and turns that run again. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { StepDoor } from '../../server/host/step-door.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:ana', reason: 'stuck' }

let world: World
let opened: ReturnType<typeof gate>
/** Steps that ran, with their idempotency keys, in order. */
let ran: { name: string; key: string }[]
let tokens: string[]
/** What the turn saw before its first step, and after each result. */
let uuids: string[]
beforeEach(() => {
  world = World.memory()
  opened = gate()
  ran = []
  tokens = []
  uuids = []
})
afterEach(() => world.close())

const shelf = agent('shelf', {
  state: () => ({ took: [] as string[] }),
  on: {
    take: (ctx, what: string) => void ctx.state.took.push(what),
    async lend() {
      await opened.promise
      return 'lent'
    },
  },
})

const desk = agent('desk', {
  state: () => ({ done: [] as string[], got: null as unknown }),
  on: {
    note: (ctx, text: string) => void ctx.state.done.push(text),
    async work(ctx) {
      uuids.push(ctx.uuid())
      for (const name of ['a', 'b', 'c']) {
        await ctx.step(name, async ({ idempotencyKey: key }) => {
          ran.push({ name, key })
          if (name === 'c') await opened.promise
        })
        uuids.push(ctx.uuid())
      }
      ctx.state.done.push('work')
      return 'worked'
    },
    /** Its way depends on chance: a replay that saw other numbers would diverge. */
    async wander(ctx) {
      for (let i = 0; i < 4; i++) {
        const name = `at ${ctx.uuid()}`
        await ctx.step(name, async ({ idempotencyKey: key }) => {
          ran.push({ name, key })
          if (i === 3) await opened.promise
        })
      }
      ctx.state.done.push('wandered')
    },
    async split(ctx) {
      await ctx.step('a', () => void ran.push({ name: 'a', key: '' }))
      ctx.state.done.push('half')
      ctx.send(ctx.ref(shelf, 's').take('half'))
      await ctx.checkpoint()
      await ctx.step('b', () => void ran.push({ name: 'b', key: '' }))
      ctx.send(ctx.ref(shelf, 's').take('whole'))
      await ctx.step('c', () => opened.promise)
      ctx.state.done.push('whole')
    },
    async ask(ctx) {
      ctx.state.got = await ctx.call(ctx.ref(shelf, 's').lend(), { timeoutMs: 600_000 })
    },
    async approve(ctx) {
      ctx.state.got = await ctx.step('ok', ({ token }) => void tokens.push(token), { external: true })
    },
    async gather(ctx) {
      const first = await ctx.receive('note')
      const second = await ctx.receive('note')
      ctx.state.got = [first.message, second.message]
      await ctx.step('c', () => opened.promise)
    },
    async stumble(ctx) {
      await ctx.step('a', () => void ran.push({ name: 'a', key: '' }))
      if (ran.length < 4) throw new Error('not yet')
      ctx.state.done.push('stumbled')
    },
    async register(ctx) {
      await ctx.register('clerk')
    },
  },
  maxAttempts: 3,
})

const start = (name = 'a'): Promise<TestNode> => world.node(name, [desk, shelf])
const state = (node: TestNode): Promise<{ done: string[]; got: unknown }> =>
  node.stored('desk/1') as Promise<{ done: string[]; got: unknown }>
const stepsNamed = (name: string) => ran.filter((step) => step.name === name)
const isOver = (node: TestNode) => async (): Promise<boolean> => {
  const process = node.core.kernel.find('desk/1')
  return process?.current === null && process.mailboxLength === 0 && !process.busy
}

/** Begins the operation and waits until `c` runs. */
async function begin(node: TestNode, op: 'work' | 'split'): Promise<{ answer: Promise<unknown> }> {
  const answer = Promise.resolve(node.ref(desk, '1')[op]() as PromiseLike<unknown>)
  answer.catch(() => {})
  await world.until(() => node.core.kernel.find('desk/1')?.wait?.target === 'c')
  return { answer }
}

describe('a skip', () => {
  test('[E4] of the message in hand: a dead letter, its caller told, and the same life goes on', async () => {
    const a = await start()
    await a.call(a.ref(desk, '1').register())
    const { answer } = await begin(a, 'work')
    await a.send(a.ref(desk, '1').note('next'))
    expect(await a.call(a.control.skipMessage('desk/1', act))).toMatchObject({ outcome: 'skipped', incarnation: 1 })
    const { code, message } = await world.refusal(answer)
    expect([code, message]).toEqual(['DEAD_LETTERED', expect.stringContaining('stuck')])
    await world.until(async () => (await state(a)).done.length > 0)
    expect((await state(a)).done).toEqual(['next'])
    const [letter] = await a.core.backend.handle.archive.deadLetters('default', { process: 'desk/1', limit: 9 })
    expect(letter).toMatchObject({ op: 'work', reason: 'skipped by operator:ana: stuck' })
    expect(a.core.kernel.find('desk/1')?.incarnation).toBe(1)
    expect(await a.core.backend.handle.store.whereis('default', 'clerk')).toBe('desk/1')
    expect(a.seen('turn:interrupt')).toHaveLength(1)
    opened.open()
    await world.advance(1_000)
    expect((await state(a)).done).toEqual(['next'])
    expect((await a.journal('desk/1')).filter((entry) => entry.k === 'step' && entry.key === 'c#0')).toEqual([])
  })

  test('[E4] of a waiting message leaves the one in hand; one that is done is refused', async () => {
    const a = await start()
    const { answer } = await begin(a, 'work')
    const id = await a.send(a.ref(desk, '1').note('waits'))
    await a.call(a.control.skipMessage('desk/1', { ...act, message: id }))
    opened.open()
    expect(await world.run(answer)).toBe('worked')
    expect((await state(a)).done).toEqual(['work'])
    expect((await world.refusal(a.control.skipMessage('desk/1', { ...act, message: id }))).code).toBe('NOT_FOUND')
    expect((await world.refusal(a.control.skipMessage('desk/1', act))).code).toBe('NOT_FOUND')
  })

  test('[E4] of a message that waits for its next attempt', async () => {
    const a = await start()
    const answer = Promise.resolve(a.ref(desk, '1').stumble())
    answer.catch(() => {})
    await world.until(() => a.core.kernel.find('desk/1')?.status === 'restarting')
    await a.call(a.control.skipMessage('desk/1', act))
    expect((await world.refusal(answer)).code).toBe('DEAD_LETTERED')
    await a.call(a.ref(desk, '1').note('on'))
    expect((await state(a)).done).toEqual(['on'])
  })

  test('[E4] what its turn received is back in its place', async () => {
    const a = await start()
    await a.send(a.ref(desk, '1').gather())
    await a.send(a.ref(desk, '1').note('one'))
    await a.send(a.ref(desk, '1').note('two'))
    await world.until(() => a.core.kernel.find('desk/1')?.wait?.target === 'c')
    await a.call(a.control.skipMessage('desk/1', act))
    await world.until(async () => (await state(a)).done.length === 2)
    expect((await state(a)).done).toEqual(['one', 'two'])
  })

  test('[E4] of two skips one gives the message up', async () => {
    const a = await start()
    await begin(a, 'work')
    const ends = await world.run(
      Promise.allSettled([a.control.skipMessage('desk/1', act), a.control.skipMessage('desk/1', act)]),
    )
    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const letters = await a.core.backend.handle.archive.deadLetters('default', { process: 'desk/1', limit: 9 })
    expect(letters).toHaveLength(1)
    await a.call(a.ref(desk, '1').note('on'))
  })

  test.each(['before', 'after'] as const)('[E1] a node that dies %s the row of a skip', async (when) => {
    const a = await start()
    await begin(a, 'work')
    const letters = (node: TestNode) =>
      node.core.backend.handle.archive.deadLetters('default', { process: 'desk/1', limit: 9 })
    a.faults.plan(({ batch }) =>
      batch.some((row) => row.deadLetters !== undefined) ? { kind: 'die', when } : undefined,
    )
    void a.control.skipMessage('desk/1', act)
    await world.until(() => a.dead)
    opened.open()
    const b = await start('b')
    await b.call(b.ref(desk, '1').note('on'))
    expect((await state(b)).done).toEqual(when === 'before' ? ['work', 'on'] : ['on'])
    expect(await letters(b)).toHaveLength(when === 'before' ? 0 : 1)
  })
})

describe('a retry', () => {
  test('[E5] from the start runs every step again, and its caller gets the answer', async () => {
    const a = await start()
    const { answer } = await begin(a, 'work')
    expect(await a.call(a.control.retryTurn('desk/1', act))).toMatchObject({ outcome: 'begins anew', incarnation: 1 })
    await world.until(() => stepsNamed('c').length === 2)
    expect(ran.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
    opened.open()
    expect(await world.run(answer)).toBe('worked')
    expect((await state(a)).done).toEqual(['work'])
    expect(await a.journal('desk/1')).toContainEqual(
      expect.objectContaining({ k: 'retried', branch: 1, kept: 0, by: 'operator:ana', why: 'stuck' }),
    )
  })

  test('[E5] from a result on keeps those before it; a place that is not there is refused', async () => {
    const a = await start()
    await begin(a, 'work')
    for (const step of [0, 4]) {
      expect((await world.refusal(a.control.retryTurn('desk/1', { ...act, step }))).code).toBe('REQUEST_INVALID')
    }
    const other = a.control.retryTurn('desk/1', { ...act, turn: 'another' })
    expect((await world.refusal(other)).code).toBe('TURN_NOT_OPEN')
    await a.call(a.control.retryTurn('desk/1', { ...act, step: 2 }))
    await world.until(() => stepsNamed('c').length === 2)
    expect(ran.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'b', 'c'])
    await a.call(a.control.retryTurn('desk/1', { ...act, step: 3 }))
    await world.until(() => stepsNamed('c').length === 3)
    expect(stepsNamed('b')).toHaveLength(2)
    opened.open()
    await world.until(isOver(a))
    expect((await state(a)).done).toEqual(['work'])
    expect((await world.refusal(a.control.retryTurn('desk/1', act))).code).toBe('TURN_NOT_OPEN')
  })

  test('[E6] what runs again has new idempotency keys and random numbers, the same after crashes', async () => {
    const a = await start()
    await begin(a, 'work')
    await a.call(a.control.retryTurn('desk/1', { ...act, step: 2 }))
    await world.until(() => stepsNamed('c').length === 2)
    const [first, again] = [stepsNamed('c')[0]?.key, stepsNamed('c')[1]?.key]
    expect(again).not.toBe(first)
    expect(stepsNamed('b')[0]?.key).not.toBe(stepsNamed('b')[1]?.key)
    // Before and after `a` and `b`, twice: the way to what is kept is the old one, the rest is new.
    expect(uuids).toHaveLength(6)
    expect(uuids[3]).toBe(uuids[0])
    expect(uuids[4]).not.toBe(uuids[1])
    expect(uuids[5]).not.toBe(uuids[2])
    const seen = uuids.slice(3)
    a.kill()
    const b = await start('b')
    await world.until(() => stepsNamed('c').length === 3)
    expect(stepsNamed('c')[2]?.key).toBe(again)
    expect(uuids.slice(6)).toEqual(seen)
    expect(stepsNamed('b')).toHaveLength(2)
    opened.open()
    await world.until(isOver(b))
    expect((await state(b)).done).toEqual(['work'])
  })

  test('[E6] a turn whose way depends on chance finds its way to what is kept, retried again and again', async () => {
    const a = await start()
    await a.send(a.ref(desk, '1').wander())
    await world.until(() => ran.length === 4)
    for (const [step, total] of [
      [3, 6],
      [4, 7],
      [2, 10],
    ] as const) {
      await a.call(a.control.retryTurn('desk/1', { ...act, step }))
      await world.until(() => ran.length === total)
    }
    expect(new Set(ran.map(({ name }) => name)).size).toBe(10)
    a.kill()
    const b = await start('b')
    await world.until(() => ran.length === 11)
    expect(ran[10]).toEqual(ran[9])
    opened.open()
    await world.until(isOver(b))
    expect(b.seen('process:diverge')).toEqual([])
    expect((await state(b)).done).toEqual(['wandered'])
  })

  test('[E5] what a checkpoint stored stays: the turn begins again after it', async () => {
    const a = await start()
    await begin(a, 'split')
    const early = await world.refusal(a.control.retryTurn('desk/1', { ...act, step: 1 }))
    expect(early).toMatchObject({ code: 'REQUEST_INVALID', detail: { checkpoint: 2 } })
    expect(await a.call(a.control.retryTurn('desk/1', act))).toMatchObject({ outcome: 'goes on from result 3' })
    await world.until(() => stepsNamed('b').length === 2)
    opened.open()
    await world.until(isOver(a))
    expect(stepsNamed('a')).toHaveLength(1)
    expect((await state(a)).done).toEqual(['half', 'whole'])
    await world.until(async () => ((await a.stored('shelf/s')) as { took: string[] }).took.length === 2)
    expect(await a.stored('shelf/s')).toEqual({ took: ['half', 'whole'] })
  })

  test('[E5] a call that was begun is withdrawn, and its answer is not taken for that of the new one', async () => {
    const a = await start()
    await a.send(a.ref(desk, '1').ask())
    await world.until(() => a.core.kernel.find('shelf/s')?.current?.op === 'lend')
    await a.call(a.control.retryTurn('desk/1', act))
    await world.until(() => (a.core.kernel.find('shelf/s')?.mailboxLength ?? 0) > 0)
    opened.open()
    await world.until(isOver(a))
    const replies = (await a.journal('desk/1')).filter((entry) => entry.k === 'reply')
    expect(replies).toHaveLength(1)
    expect((await state(a)).got).toBe('lent')
    await world.until(async () => {
      const { archive } = a.core.backend.handle
      const counts = await archive.mailboxCounts('default', ['desk/1', 'shelf/s'])
      return counts.size === 0
    })
  })

  test('[E5] the token of a step that is not kept is worth nothing, also when its outcome is on its way', async () => {
    const a = await start()
    const door = new StepDoor(a.core)
    await a.send(a.ref(desk, '1').approve())
    await world.until(() => tokens.length === 1)
    const given = door.settle(tokens[0] ?? '', { value: 'old' }).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    )
    const retried = a.control.retryTurn('desk/1', act).then(
      () => 'retried',
      (error: { code: string }) => error.code,
    )
    const [first, second] = await world.run(Promise.all([given, retried]))
    if (second === 'retried') {
      await world.until(() => tokens.length === 2)
      const late = door.settle(tokens[0] ?? '', { value: 'late' })
      expect((await world.refusal(late)).code).toBe(first === 'taken' ? 'ALREADY_COMPLETED' : 'STEP_NOT_FOUND')
      expect((await state(a)).got).toBe(null)
      await world.run(door.settle(tokens[1] ?? '', { value: 'new' }))
      await world.until(isOver(a))
      expect((await state(a)).got).toBe('new')
    } else {
      expect([first, second]).toEqual(['taken', 'TURN_NOT_OPEN'])
      expect((await state(a)).got).toBe('old')
    }
  })

  test('[E6] the outcome of a step that runs again reaches it at the next node, another one does not', async () => {
    const a = await start()
    await a.send(a.ref(desk, '1').approve())
    await world.until(() => tokens.length === 1)
    await a.call(a.control.retryTurn('desk/1', act))
    await world.until(() => tokens.length === 2)
    a.kill()
    const other = await world.node('other', [])
    const door = new StepDoor(other.core)
    expect((await world.refusal(door.settle(tokens[0] ?? '', { value: 'old' }))).code).toBe('STEP_NOT_FOUND')
    await world.run(door.settle(tokens[1] ?? '', { value: 'new' }))
    const b = await start('b')
    await world.until(async () => (await state(b)).got !== null)
    expect((await state(b)).got).toBe('new')
    expect(tokens).toHaveLength(2)
  })

  test('[E5] received messages that are not kept are received again, kept ones are not', async () => {
    const a = await start()
    await a.send(a.ref(desk, '1').gather())
    for (const text of ['one', 'two', 'three']) await a.send(a.ref(desk, '1').note(text))
    await world.until(() => a.core.kernel.find('desk/1')?.wait?.target === 'c')
    expect(a.core.kernel.find('desk/1')?.mailboxLength).toBe(1)
    await a.call(a.control.retryTurn('desk/1', { ...act, step: 2 }))
    await world.until(() => a.core.kernel.find('desk/1')?.wait?.target === 'c')
    a.kill()
    const b = await start('b')
    await world.until(() => b.core.kernel.find('desk/1')?.wait?.target === 'c')
    await b.call(b.control.retryTurn('desk/1', act))
    await world.until(() => b.core.kernel.find('desk/1')?.wait?.target === 'c')
    opened.open()
    await world.until(isOver(b))
    expect(await state(b)).toEqual({ got: ['one', 'two'], done: ['three'] })
  })

  test('[E5] what it received is behind it again, also when nothing else waits', async () => {
    const a = await start()
    await a.send(a.ref(desk, '1').gather())
    for (const text of ['one', 'two']) await a.send(a.ref(desk, '1').note(text))
    await world.until(() => a.core.kernel.find('desk/1')?.wait?.target === 'c')
    await a.call(a.control.retryTurn('desk/1', act))
    await world.until(() => a.core.kernel.find('desk/1')?.wait?.target === 'c')
    opened.open()
    await world.until(isOver(a))
    expect(await state(a)).toEqual({ got: ['one', 'two'], done: [] })
    expect((await a.journal('desk/1')).filter(({ k }) => k === 'accepted')).toHaveLength(1)
  })

  test('[E5] one that waits for its next attempt begins at once, and its attempts count anew', async () => {
    const a = await start()
    const answer = Promise.resolve(a.ref(desk, '1').stumble())
    answer.catch(() => {})
    for (let n = 1; n < 4; n++) {
      await world.until(() => ran.length === n && a.core.kernel.find('desk/1')?.status === 'restarting')
      expect(a.core.kernel.find('desk/1')?.mailbox?.peek(0, 1)[0]?.attempts).toBe(1)
      const before = world.clock.now()
      await a.call(a.control.retryTurn('desk/1', act))
      await world.until(() => ran.length === n + 1)
      expect(world.clock.now() - before).toBeLessThan(50)
    }
    await world.run(answer)
    expect((await state(a)).done).toEqual(['stumbled'])
  })

  test('[E5] a diverged turn begins again under the code that is there', async () => {
    const other = agent('desk', {
      state: () => ({ done: [] as string[], got: null as unknown }),
      on: {
        async work(ctx) {
          await ctx.step('x', () => void ran.push({ name: 'x', key: '' }))
          ctx.state.done.push('other')
        },
      },
    })
    const a = await start()
    await begin(a, 'work')
    a.kill()
    const b = await world.node('b', [other, shelf])
    await world.until(() => b.core.kernel.find('desk/1')?.status === 'diverged')
    await b.call(b.control.retryTurn('desk/1', act))
    await world.until(async () => (await state(b)).done.length === 1)
    expect((await state(b)).done).toEqual(['other'])
    await world.until(async () => {
      return (await b.core.backend.handle.archive.process('default', 'desk/1'))?.diverged === false
    })
  })

  test('[E4] a diverged turn is skipped', async () => {
    const other = agent('desk', {
      state: () => ({ done: [] as string[], got: null as unknown }),
      on: {
        work: (ctx) => void ctx.state.done.push('other'),
        note: (ctx, text: string) => void ctx.state.done.push(text),
      },
    })
    const a = await start()
    await begin(a, 'work')
    a.kill()
    const b = await world.node('b', [other, shelf])
    await world.until(() => b.core.kernel.find('desk/1')?.status === 'diverged')
    await b.call(b.control.skipMessage('desk/1', act))
    await b.call(b.ref(other, '1').note('on'))
    expect((await state(b)).done).toEqual(['on'])
    expect((await b.core.backend.handle.archive.process('default', 'desk/1'))?.diverged).toBe(false)
  })

  test('[E5] of two retries at once, and a kill between, the turn ends once', async () => {
    const a = await start()
    await begin(a, 'work')
    const verbs = [
      a.control.retryTurn('desk/1', act),
      a.control.retryTurn('desk/1', act),
      a.control.kill('desk/1', act),
      a.control.skipMessage('desk/1', { ...act, message: 'none' }),
    ]
    await world.run(Promise.allSettled(verbs))
    opened.open()
    await world.until(async () => (await state(a)).done.length > 0)
    await world.until(isOver(a))
    expect((await state(a)).done).toEqual(['work'])
    const ends = (await a.journal('desk/1')).filter((entry) => entry.k === 'end')
    expect(ends).toHaveLength(1)
  })

  test.each(['before', 'after'] as const)('[E1] a node that dies %s the row of a retry', async (when) => {
    const a = await start()
    await begin(a, 'work')
    a.faults.plan(({ batch }) =>
      batch.some((row) => row.payload.includes('"retried"')) ? { kind: 'die', when } : undefined,
    )
    void a.control.retryTurn('desk/1', act)
    await world.until(() => a.dead)
    opened.open()
    const b = await start('b')
    await world.until(async () => (await state(b)).done.length === 1)
    expect(stepsNamed('a')).toHaveLength(when === 'before' ? 1 : 2)
    const keys = stepsNamed('c').map(({ key }) => key)
    expect(new Set(keys).size).toBe(when === 'before' ? 1 : 2)
  })

  test('[E1] suspended processes keep what is at hand until they are resumed', async () => {
    const a = await start()
    await begin(a, 'work')
    await a.call(a.control.suspend('desk/1', act))
    await a.call(a.control.retryTurn('desk/1', act))
    await world.advance(1_000)
    expect(stepsNamed('a')).toHaveLength(1)
    await a.call(a.control.retryTurn('desk/1', act))
    opened.open()
    await a.call(a.control.resume('desk/1', act))
    await world.until(async () => (await state(a)).done.length === 1)
    expect(stepsNamed('a')).toHaveLength(2)
    expect(await a.journal('desk/1')).toContainEqual(expect.objectContaining({ k: 'retried', branch: 2 }))
  })
})
