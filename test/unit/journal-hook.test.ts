/** Around turns: hooks of the life of a process, what a killed turn can still do, and what its rows tell later. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { gate, Oracle, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

describe('hooks and kill', () => {
  const log: string[] = []
  const hooked = (v: number, activated = true) =>
    agent('hooked', {
      version: v,
      state: () => ({ log: ['init'] as string[] }),
      on: {
        async work(ctx) {
          ctx.state.log.push(`work${v}`)
          await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
        },
        note: (ctx, text: string) => void ctx.state.log.push(text),
      },
      ...(activated ? { activated: (ctx: { state: { log: string[] } }) => void ctx.state.log.push(`active${v}`) } : {}),
      upgrade: {
        1: (old: { log: string[] }) => ({ log: [...old.log, 'up2'] }),
        2: (old: { log: string[] }) => ({ log: [...old.log, 'up3'] }),
      },
    })

  test('[T8] activated runs before the first message, as a turn of its own', async () => {
    const one = hooked(1)
    const node = await world.node('a', [one])
    await node.call(node.ref(one, 'k').note('first'))
    expect(await node.stored('hooked/k')).toEqual({ log: ['init', 'active1', 'first'] })
  })

  test('[T8][V2] an open turn is replayed first, on its upgraded base; then activated, then messages', async () => {
    const one = hooked(1)
    const three = hooked(3)
    const a = await world.node('a', [one])
    await a.call(a.send(a.ref(one, 'k').work()))
    await a.call(a.send(a.ref(one, 'k').note('later')))
    await world.until(() => oracle.count('hang') === 1)
    a.kill()
    const b = await world.node('b', [three])
    await world.until(async () => ((await b.stored('hooked/k')) as { log: string[] }).log.includes('later'))
    expect(await b.stored('hooked/k')).toEqual({ log: ['init', 'active1', 'up2', 'up3', 'work3', 'active3', 'later'] })
  })

  test('[V1] a state newer than the code is not claimed by it', async () => {
    const three = hooked(3, false)
    const two = hooked(2, false)
    const a = await world.node('a', [three])
    await a.call(a.ref(three, 'k').note('x'))
    await a.stop()
    const b = await world.node('b', [two])
    const refused = await world.refusal(b.ref(two, 'k').note('y'))
    expect(refused.message).toContain('version 3')
    expect(await b.stored('hooked/k')).toEqual({ log: ['init', 'x'] })
  })

  const started = gate()
  const other = agent('other', { state: () => ({ n: 0 }), on: { add: (ctx) => ++ctx.state.n } })
  const killed = agent('killed', {
    state: () => ({ n: 0 }),
    on: {
      async work(ctx): Promise<void> {
        if (oracle.hit('work') > 1) {
          ctx.state.n += 1
          return
        }
        started.open()
        const verb = async (run: () => unknown): Promise<void> => {
          try {
            await run()
            log.push('worked')
          } catch (error) {
            log.push((error as { code: string }).code)
          }
        }
        await verb(() => ctx.step('s', () => new Promise((resolve) => void world.clock.after(100, () => resolve(1)))))
        await verb(() => {
          ctx.state.n = 99
        })
        await verb(() => ctx.send(ctx.ref(other, 'x').add()))
        await verb(() => ctx.ref(other, 'x').add())
        await verb(() => ctx.after(1, 'add'))
        await verb(() => ctx.exit())
        await verb(() => ctx.now())
        await verb(() => ctx.spawn(other))
        await verb(() => ctx.checkpoint())
        await verb(() => ctx.step('t', () => log.push('ran')))
      },
      add: (ctx): number => ++ctx.state.n,
    },
  })

  test('[T9] a killed turn goes on nowhere: every verb of its ctx is closed', async () => {
    log.length = 0
    const node = await world.node('a', [killed, other])
    await node.call(node.send(node.ref(killed, 'k').work()))
    await world.run(started.promise)
    await world.advance(10)
    await node.call(node.control.kill('killed/k', { actor: 'test' }))
    await world.advance(2_000)
    expect(log).toEqual(Array.from({ length: 10 }, () => 'CONTEXT_CLOSED'))
    expect(await node.stored('killed/k')).toEqual({ n: 1 })
  })

  test('[T9] a turn that ended before a kill is committed and answered', async () => {
    const node = await world.node('a', [killed, other])
    await node.call(node.ref(killed, 'k').add())
    const stored = gate()
    node.faults.next('commit', { kind: 'hold', until: stored.promise })
    const answer = node.ref(killed, 'k').add().run()
    await world.settle()
    const kill = node.control.kill('killed/k', { actor: 'test' })
    await world.settle()
    stored.open()
    await world.run(kill)
    expect(await world.run(answer)).toBe(2)
    expect(await node.call(node.ref(killed, 'k').add())).toBe(3)
    expect(node.core.kernel.find('killed/k')?.incarnation).toBe(2)
  })
})

describe('what a row tells later', () => {
  const second = agent('second', { state: () => ({ n: 0 }), on: { take: (ctx) => ++ctx.state.n } })
  const first = agent('first', {
    state: () => ({ n: 0 }),
    on: {
      go(ctx) {
        ctx.state.n += 1
        ctx.send(ctx.ref(second, 's').take())
        ctx.publish('news', 'yes')
      },
      fail(ctx) {
        ctx.publish('news', 'no')
        throw new Reject('no')
      },
      listen: (ctx) => ctx.subscribe('news', 'heard'),
      heard: (_ctx, text: string) => void oracle.hit(`heard ${text}`),
    },
  })

  test('[V3] a row names turn, cause, root, actor, state and code version', async () => {
    const node = await world.node('a', [first, second], { codeVersion: 'c7' })
    const { messageId } = await node.call(node.control.send('first/f', 'go', null, { actor: 'operator:ana' }))
    await world.until(() => node.core.layer.committed('second/s')?.seq === 1)
    const [one, two] = node.faults.committed
    expect(one?.meta).toMatchObject({ turnIds: [messageId], root: messageId, actor: 'operator:ana', codeVersion: 'c7' })
    expect(two?.meta).toMatchObject({ turnIds: [`${messageId}.1`], cause: messageId, root: messageId, stateVersion: 1 })
    expect(two?.meta.actor).toBe('operator:ana')
  })

  test('[M8] what a turn publishes leaves with its commit, and not at all without one', async () => {
    const node = await world.node('a', [first, second])
    await node.call(node.ref(first, 'listener').listen())
    const stored = gate()
    node.faults.next('commit', { kind: 'hold', until: stored.promise })
    const answer = node.ref(first, 'f').go().run()
    await world.settle()
    expect(oracle.count('heard yes')).toBe(0)
    stored.open()
    await world.run(answer)
    await world.settle()
    oracle.expectStep('heard yes').once()
    await world.refusal(node.ref(first, 'f').fail())
    await world.settle()
    oracle.expectStep('heard no').times(0)
  })
})
