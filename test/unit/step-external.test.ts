/** Steps that are completed from outside: the token, its one outcome, and what crashes, moves and limits do to it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { ExternalStepInfo, ExternalStepOptions } from '../../server/definition/step.ts'
import { StepDoor, type StepOutcome } from '../../server/host/step-door.ts'
import { outcomeKey } from '../../server/journal/step-token.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle
let tokens: string[]
let options: ExternalStepOptions
let won: PromiseWithResolvers<string>
let body: (info: ExternalStepInfo) => unknown

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  tokens = []
  won = Promise.withResolvers()
  options = { external: true, retry: { max: 2, initialMs: 1 } }
  body = () => null
})
afterEach(() => world.close())

const asker = agent('asker', {
  maxAttempts: 2,
  state: () => ({ got: null as unknown }),
  on: {
    async ask(ctx) {
      const run = (info: ExternalStepInfo): unknown => {
        oracle.hit('asked')
        tokens.push(info.token)
        return body(info)
      }
      try {
        ctx.state.got = await ctx.step('approve', run, options)
      } catch (error) {
        ctx.state.got = causeOf(error)
        if (oracle.count('throw') > 0 && oracle.hit('thrown') === 1) throw error
      }
      await ctx.step('after', () => oracle.hit('after'))
    },
    async race(ctx) {
      const outside = ctx.step('approve', ({ token }) => void tokens.push(token), options)
      ctx.state.got = await Promise.race([outside, ctx.step('fast', () => won.promise)])
    },
  },
})

function causeOf(error: unknown): string {
  const { code, cause } = error as { code: string; cause?: { message: string; detail?: { original?: string } } }
  return `${code}: ${cause?.detail?.original}: ${cause?.message}`
}

const settle = (node: TestNode, token: string, outcome: StepOutcome): Promise<void> =>
  world.run(new StepDoor(node.core).settle(token, outcome))
const refusal = (node: TestNode, token: string, outcome: StepOutcome = { value: 1 }): ReturnType<World['refusal']> =>
  world.refusal(new StepDoor(node.core).settle(token, outcome))
const got = async (node: TestNode): Promise<unknown> =>
  ((await node.stored('asker/k')) as { got: unknown } | undefined)?.got

async function ask(op: 'ask' | 'race' = 'ask'): Promise<{ node: TestNode; token: string }> {
  const node = await world.node('a', [asker])
  await node.call(node.send(node.ref(asker, 'k')[op]()))
  await world.until(() => tokens.length === 1)
  await world.advance(20)
  return { node, token: tokens[0] ?? '' }
}

describe('the wait', () => {
  test('[Q11] the step stays open after its function returned, until somebody completes it', async () => {
    const { node, token } = await ask()
    await world.advance(100_000)
    expect(await got(node)).toBeNull()
    const record = await node.core.backend.handle.archive.process('default', 'asker/k')
    expect(JSON.parse(record?.wait ?? '')).toMatchObject({ kind: 'step', target: 'approve (from outside)' })
    await settle(node, token, { value: { by: 'ana', at: new Date(5) } })
    await world.until(async () => (await got(node)) !== null)
    expect(await got(node)).toEqual({ by: 'ana', at: new Date(5) })
    expect(oracle.count('asked')).toBe(1)
    const kinds = node.written().map((entry) => entry.k)
    expect(kinds).toEqual(['init', 'accepted', 'opened', 'handed', 'step', 'step', 'end'])
    expect(world.db?.box('default', 'asker/k')?.size ?? 0).toBe(0)
  })

  test('[M7] no cycle of calls is looked for behind it, however long it waits', async () => {
    const { node } = await ask()
    await world.advance(10_000)
    expect(node.faults.counts.get('waitEdges')).toBeUndefined()
  })

  test('[Q11] a failure from outside is final and carries its cause', async () => {
    const { node, token } = await ask()
    await settle(node, token, { error: { code: 'DENIED', message: 'not on my watch' } })
    await world.until(async () => (await got(node)) !== null)
    expect(await got(node)).toBe('STEP_FAILED: DENIED: not on my watch')
    expect(oracle.count('asked')).toBe(1)
  })

  test('[Q11] the token is stored before the function sees it, and names what nobody can guess', async () => {
    const node = await world.node('a', [asker])
    const held = gate()
    node.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.payload.includes('"opened"'))
        ? { kind: 'hold', until: held.promise }
        : undefined,
    )
    await node.call(node.send(node.ref(asker, 'k').ask()))
    await node.call(node.send(node.ref(asker, 'l').ask()))
    await world.advance(1_000)
    expect(tokens).toEqual([])
    held.open()
    await world.until(() => tokens.length === 2)
    const [one, two] = tokens.map(
      (token) => JSON.parse(Buffer.from(token.slice(3), 'base64url').toString()) as string[],
    )
    expect([one?.[0], one?.[2]]).toEqual(['asker/k', 'approve#0'])
    expect(one?.[3]).toMatch(/^[0-9a-f-]{36}$/)
    expect(one?.[3]).not.toBe(two?.[3])
  })

  test('[Q11] its function is retried with the same token; only its last failure ends the step', async () => {
    body = () => {
      if (tokens.length < 2) throw new Error('mail server down')
    }
    const { node } = await ask()
    await world.until(() => tokens.length === 2)
    expect(new Set(tokens).size).toBe(1)
    await settle(node, tokens[0] ?? '', { value: 'fine' })
    await world.until(async () => (await got(node)) === 'fine')
  })

  test('[Q11] an outcome that comes while the function still runs counts, and ends the function', async () => {
    let signal: AbortSignal | null = null
    body = (info) => {
      signal = info.signal
      return new Promise(() => {})
    }
    const { node, token } = await ask()
    await settle(node, token, { value: 'quick' })
    await world.until(async () => (await got(node)) === 'quick')
    expect((signal as unknown as AbortSignal).reason).toMatchObject({ code: 'ALREADY_COMPLETED' })
    expect(oracle.count('asked')).toBe(1)
  })

  test('[Q11] an agent without a journal cannot have one', async () => {
    const light = agent('light', {
      durability: 'ephemeral',
      state: () => ({}),
      on: { ask: (ctx, _now: null) => ctx.step('approve', () => null, { external: true }) },
    })
    const node = await world.node('a', [light])
    expect((await world.refusal(node.ref(light, 'k').ask(null))).message).toContain('is not durable')
  })
})

describe('crash and move', () => {
  test('[Q11] after a crash only the wait goes on: same token, function not run again', async () => {
    const { node: a, token } = await ask()
    a.kill()
    const b = await world.node('b', [asker])
    await world.until(() => b.core.kernel.find('asker/k')?.wait?.target === 'approve (from outside)')
    await settle(b, token, { value: 'late but fine' })
    await world.until(async () => (await got(b)) === 'late but fine')
    expect(oracle.count('asked')).toBe(1)
    oracle.expectStep('after').once()
  })

  test('[Q11] a crash while the function runs runs it again with the same token', async () => {
    body = () => (tokens.length === 1 ? new Promise(() => {}) : null)
    const { node: a } = await ask()
    a.kill()
    const b = await world.node('b', [asker])
    await world.until(() => tokens.length === 2)
    expect(tokens[1]).toBe(tokens[0])
    await settle(b, tokens[0] ?? '', { value: 1 })
    await world.until(async () => (await got(b)) === 1)
  })

  test('[Q11] an outcome given while nobody runs the process waits for it', async () => {
    const { node: a, token } = await ask()
    const other = await world.node('other', [])
    a.kill()
    await settle(other, token, { value: 'meanwhile' })
    expect((await refusal(other, token)).code).toBe('ALREADY_COMPLETED')
    const b = await world.node('b', [asker])
    await world.until(async () => (await got(b)) === 'meanwhile')
    expect(oracle.count('asked')).toBe(1)
  })

  test('[Q11] any node may give it; the owner on another one goes on', async () => {
    const { node: a, token } = await ask()
    const other = await world.node('other', [asker])
    await settle(other, token, { value: 'from there' })
    await world.until(async () => (await got(a)) === 'from there')
    expect(a.core.kernel.find('asker/k')?.incarnation).toBe(1)
  })

  test.each(['before', 'after'] as const)(
    '[Q11] a crash %s the outcome is recorded loses and doubles nothing',
    async (when) => {
      const { node: a, token } = await ask()
      a.faults.plan(({ method, batch }) =>
        method === 'commit' && batch.some((row) => row.payload.includes('"step"')) ? { kind: 'die', when } : undefined,
      )
      await settle(a, token, { value: 7 })
      await world.until(() => a.dead)
      const b = await world.node('b', [asker])
      await world.until(async () => (await got(b)) === 7)
      expect((await refusal(b, token)).code).toBe('ALREADY_COMPLETED')
      expect(oracle.count('asked')).toBe(1)
      expect(world.db?.box('default', 'asker/k')?.size ?? 0).toBe(0)
    },
  )

  test('[Q11] a kill keeps the token: the next attempt of the message waits on', async () => {
    const { node, token } = await ask()
    await node.call(node.control.kill('asker/k', { actor: 'test' }))
    await world.until(() => node.core.kernel.find('asker/k')?.wait?.target === 'approve (from outside)')
    await settle(node, token, { value: 'still' })
    await world.until(async () => (await got(node)) === 'still')
    expect(oracle.count('asked')).toBe(1)
  })

  test('[Q11] a message that failed with the step asks anew, with another token', async () => {
    oracle.hit('throw')
    const { node, token } = await ask()
    await settle(node, token, { error: new Error('first no') })
    await world.until(() => tokens.length === 2)
    expect(tokens[1]).not.toBe(token)
    expect((await refusal(node, token)).code).toBe('ALREADY_COMPLETED')
    await settle(node, tokens[1] ?? '', { value: 'then yes' })
    await world.until(async () => (await got(node)) === 'then yes')
  })
})

test('[Q11] an outcome for a step that was asked anew finds it after a crash', async () => {
  oracle.hit('throw')
  const { node: a, token } = await ask()
  await settle(a, token, { error: new Error('first no') })
  await world.until(() => tokens.length === 2)
  await world.advance(20)
  const other = await world.node('other', [])
  a.kill()
  await settle(other, tokens[1] ?? '', { value: 'then yes' })
  const b = await world.node('b', [asker])
  await world.until(async () => (await got(b)) === 'then yes')
})

describe('one outcome', () => {
  test('[Q12] of many who complete it at once, on any node, one is taken', async () => {
    const { node: a, token } = await ask()
    const b = await world.node('b', [asker])
    const tries = Array.from({ length: 10 }, (_, i) =>
      new StepDoor((i % 2 === 0 ? a : b).core).settle(token, { value: i }),
    )
    const ends = await world.run(Promise.allSettled(tries))
    const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as { code: string }] : []))
    expect(refused.map(({ code }) => code)).toEqual(Array(9).fill('ALREADY_COMPLETED'))
    const winner = ends.findIndex((end) => end.status === 'fulfilled')
    await world.until(async () => (await got(a)) !== null)
    expect(await got(a)).toBe(winner)
    expect((await refusal(a, token)).code).toBe('ALREADY_COMPLETED')
  })

  test('[Q12] one that comes when its turn is over leaves nothing behind that waits', async () => {
    const { node: a, token } = await ask('race')
    const b = await world.node('b', [asker])
    b.core.backend.hint = () => {} // lost: the owner hears of it when it looks
    await settle(b, token, { value: 'late' })
    won.resolve('fast')
    await world.until(async () => (await got(a)) === 'fast')
    await world.until(() => world.db?.mailbox.size === 0)
    const row = await a.core.backend.handle.store.requestRow('default', 'asker/k', outcomeKey(token))
    expect(row?.status).toBe('failed')
    expect((await refusal(b, token)).code).toBe('ALREADY_COMPLETED')
  })

  test('[Q12] tokens that nobody gave out are told apart from none', async () => {
    const { node, token } = await ask()
    const parts = JSON.parse(Buffer.from(token.slice(3), 'base64url').toString()) as string[]
    const forge = (change: (parts: string[]) => string[]): string =>
      `st_${Buffer.from(JSON.stringify(change(parts))).toString('base64url')}`
    const bad = [
      '',
      'nonsense',
      'st_',
      `st_${Buffer.from('{"a":1}').toString('base64url')}`,
      token.slice(0, -1),
      forge(([id = '', turn = '', key = '']) => [id, turn, key, 'guess']),
      forge(([, turn = '', key = '', secret = '']) => ['asker/other', turn, key, secret]),
      forge(([id = '', turn = '', , secret = '']) => [id, turn, 'approve#1', secret]),
      forge(([, turn = '', key = '', secret = '']) => ['\u0000', turn, key, secret]),
      'st_'.padEnd(100_000, 'A'),
    ]
    for (const wrong of bad) expect((await refusal(node, wrong)).code, wrong.slice(0, 40)).toBe('STEP_NOT_FOUND')
    await settle(node, token, { value: 1 })
  })

  test('[Q12] a value that cannot be stored is refused and the step stays open', async () => {
    const { node, token } = await ask()
    expect((await refusal(node, token, { value: () => {} })).code).toBe('VALUE_UNSUPPORTED')
    await settle(node, token, { value: 2 })
    await world.until(async () => (await got(node)) === 2)
  })

  test('[Q12] the total time ends it through the same door: too late is too late', async () => {
    options = { external: true, totalMs: 60_000 }
    const { node: a, token } = await ask()
    expect(a.core.kernel.find('asker/k')?.wait?.deadline).toBeGreaterThan(world.clock.now())
    await world.advance(30_000)
    a.kill()
    const b = await world.node('b', [asker])
    await world.advance(29_000)
    expect(await got(b)).toBeNull()
    await world.until(async () => (await got(b)) !== null)
    expect(await got(b)).toBe('STEP_FAILED: STEP_TIMEOUT: Step approve had 60000 ms in all; they are over.')
    expect((await refusal(b, token)).code).toBe('ALREADY_COMPLETED')
  })

  test('[Q12] an outcome and the limit in the same instant are one outcome', async () => {
    options = { external: true, totalMs: 60_000 }
    const { node, token } = await ask()
    const held = gate()
    node.faults.next('request', { kind: 'hold', until: held.promise })
    const mine = new StepDoor(node.core).settle(token, { value: 'in time?' }).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    )
    await world.advance(70_000)
    held.open()
    expect(await world.run(mine)).toBe('ALREADY_COMPLETED')
    expect(await got(node)).toContain('STEP_TIMEOUT')
  })

  test('[Q12] the limit is stored as soon as the store takes it', async () => {
    options = { external: true, totalMs: 1_000 }
    const { node } = await ask()
    node.faults.next('request', { kind: 'fail', failure: 'unavailable' }, 3)
    await world.until(async () => (await got(node)) !== null)
    expect(node.faults.counts.get('request')).toBe(4)
  })

  test('[Q12] when the function fails for good, that is the outcome', async () => {
    body = () => {
      throw new Error('nobody to ask')
    }
    const { node, token } = await ask()
    await world.until(async () => (await got(node)) !== null)
    expect(await got(node)).toContain('nobody to ask')
    expect((await refusal(node, token)).code).toBe('ALREADY_COMPLETED')
  })

  test('[Q12] a step whose turn ended without it is not found; an outcome on its way then is consumed', async () => {
    const { node, token } = await ask('race')
    const held = gate()
    node.faults.next('request', { kind: 'hold', until: held.promise })
    const late = new StepDoor(node.core).settle(token, { value: 'late' })
    await world.advance(50)
    won.resolve('fast')
    await world.until(async () => (await got(node)) === 'fast')
    expect((await refusal(node, token)).code).toBe('STEP_NOT_FOUND')
    held.open()
    await world.run(late)
    await world.advance(100)
    expect(await got(node)).toBe('fast')
    expect(world.db?.box('default', 'asker/k')?.size ?? 0).toBe(0)
  })

  test('[Q12] the taken outcome settles its row; the token itself is in no table but the journal', async () => {
    const { node, token } = await ask()
    await settle(node, token, { value: 1 })
    await world.until(async () => (await got(node)) === 1)
    await world.advance(50)
    const row = await node.core.backend.handle.store.requestRow('default', 'asker/k', outcomeKey(token))
    expect(row).toMatchObject({ status: 'done' })
    expect(JSON.stringify(row)).not.toContain(token)
  })
})
