/** Stored states under newer code: the chain of upgrades, and what becomes of a process whose upgrade fails. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})

afterEach(() => world.close())

type State = { log: string[] }
type Upgrade = { readonly [from: number]: (old: never) => unknown }

const CHAIN: Upgrade = {
  1: (old: State) => ({ log: [...old.log, 'up2'] }),
  2: (old: State) => ({ log: [...old.log, 'up3'] }),
}

const account = (version: number, upgrade: Upgrade = CHAIN) =>
  agent('account', {
    version,
    upgrade,
    state: (): State => ({ log: [] }),
    on: {
      note: (ctx, text: string) => ctx.state.log.push(text),
      async work(ctx) {
        ctx.state.log.push(`work${version}`)
        const one = await ctx.step('one', () => oracle.hit('one'))
        await ctx.checkpoint()
        ctx.state.log.push(`after${version}:${one}`)
        await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
      },
    },
  })

const log = async (node: TestNode): Promise<string[]> => ((await node.stored('account/k')) as State).log

/** A process of version 1 with a turn in hand that its node did not survive. */
async function interrupted(): Promise<TestNode> {
  const one = account(1)
  const a = await world.node('a', [one])
  await a.call(a.ref(one, 'k').note('first'))
  await a.call(a.send(a.ref(one, 'k').work()))
  await world.until(() => oracle.count('hang') === 1)
  await world.advance(20)
  a.kill()
  return a
}

describe('upgrade', () => {
  test('[V8] a chain of two steps with an open turn: state and base, one entry, and the turn goes on', async () => {
    await interrupted()
    const b = await world.node('b', [account(3)])
    await world.until(async () => (await log(b)).some((line) => line.startsWith('after')))
    // The checkpoint stored a state that the old code made; the end is of the new code.
    expect(await log(b)).toEqual(['first', 'work1', 'up2', 'up3', 'after3:1'])
    oracle.expectStep('one').once()
    const found = (await b.journal('account/k')).filter((entry) => entry.k === 'upgrade')
    expect(found).toMatchObject([{ from: 1, to: 3, base: { log: ['first', 'up2', 'up3'] } }])
    b.kill()
    const c = await world.node('c', [account(3)])
    await c.call(c.ref(account(3), 'k').note('last'))
    expect((await log(c)).filter((line) => line === 'up2')).toHaveLength(1)
  })

  const failing: Upgrade = {
    ...CHAIN,
    2: (): never => {
      throw new TypeError('no balance')
    },
  }

  test.each([
    ['throws', failing, 'UPGRADE_FAILED', 'from 2 to 3 failed: no balance'],
    ['is missing', { 1: CHAIN[1] as (old: never) => unknown }, 'UPGRADE_MISSING', 'no upgrade from 2 to 3'],
  ])(
    '[V8] an upgrade that %s halts this process alone; nothing is lost, and the right code goes on',
    async (...given) => {
      const [, upgrade, code, text] = given
      await interrupted()
      const broken = account(3, upgrade)
      const b = await world.node('b', [broken])
      await b.call(b.ref(broken, 'other').note('fine'))
      const refused = await world.refusal(b.ref(broken, 'k').note('refused'))
      expect(['CHILD_START_FAILED', 'RESTART_LIMIT', 'PROCESS_EXITED']).toContain(refused.code)
      await b.call(b.send(b.ref(broken, 'k').note('waits')))
      await world.advance(120_000)
      expect(await log(b)).toEqual(['first', 'work1'])
      expect((await b.journal('account/k')).some((entry) => entry.k === 'upgrade')).toBe(false)
      const failures = await b.core.backend.handle.archive.failures('default', { process: 'account/k', limit: 99 })
      expect(failures[0]?.error).toMatchObject({ code: code, message: expect.stringContaining(text) })
      expect(failures.length).toBeLessThan(10)
      expect(await b.call(b.ref(broken, 'other').note('still'))).toBe(2)
      const c = await world.node('c', [account(3)])
      await c.call(c.control.restart('account/k', { actor: 'test' }))
      await world.until(async () => (await log(c)).includes('waits'))
      expect(await log(c)).toEqual(['first', 'work1', 'up2', 'up3', 'after3:1', 'waits'])
      oracle.expectStep('one').once()
    },
  )

  test('[V8] a state that was upgraded is newer than the code before, whoever created its process', async () => {
    const [two, three] = [account(2), account(3)]
    const a = await world.node('a', [two])
    await a.call(a.ref(two, 'k').note('x'))
    await a.stop()
    const b = await world.node('b', [three])
    await b.call(b.ref(three, 'k').note('y'))
    await b.stop()
    const c = await world.node('c', [two])
    expect((await world.refusal(c.ref(two, 'k').note('z'))).message).toContain('VERSION_UNSUPPORTED')
    const d = await world.node('d', [three])
    await d.call(d.ref(three, 'k').note('later'))
    expect(await log(d)).toEqual(['x', 'up3', 'y', 'later'])
  })

  test('[V8] a state newer than the code is refused as such and left alone', async () => {
    const three = account(3)
    const a = await world.node('a', [three])
    await a.call(a.ref(three, 'k').note('x'))
    await a.stop()
    const two = account(2)
    const b = await world.node('b', [two])
    const refused = await world.refusal(b.ref(two, 'k').note('y'))
    expect(refused.message).toContain('VERSION_UNSUPPORTED')
    await b.call(b.send(b.ref(two, 'k').note('later')))
    const c = await world.node('c', [three])
    await c.call(c.ref(three, 'k').note('z'))
    expect(await log(c)).toEqual(['x', 'later', 'z'])
  })
})
