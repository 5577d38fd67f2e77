/** Turns that outlive the code they began with: patches, divergence. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})

afterEach(() => world.close())

type Log = { log: string[] }
type Ctx = Context<Log>

/** An agent whose one operation is the given program: the same agent with other code is what a deploy is. */
const worker = (work: (ctx: Ctx) => Promise<unknown>) =>
  agent('worker', { state: (): Log => ({ log: [] }), on: { work } })

/** Never comes back the first time: the crash of the node falls here. */
const stop = (ctx: Ctx, name = 'stop') => ctx.step(name, () => (oracle.hit(name) === 1 ? new Promise(() => {}) : null))

const step = (ctx: Ctx, name: string) => ctx.step(name, () => oracle.hit(name))

async function begin(node: TestNode, definition: ReturnType<typeof worker>, at: string): Promise<void> {
  await node.call(node.send(node.ref(definition, 'k').work()))
  await world.until(() => oracle.count(at) === 1)
  await world.advance(20)
}

async function ended(node: TestNode): Promise<string[]> {
  let log: string[] = []
  await world.until(async () => {
    log = ((await node.stored('worker/k')) as Log | undefined)?.log ?? []
    return log.length > 0
  })
  return log
}

describe('patched', () => {
  const patchedIn = (ctx: Ctx) => ctx.patched('fees')

  test('[V6] a turn that begins with the patch has it, as an entry in its order, on every replay', async () => {
    const seen: boolean[] = []
    const code = worker(async (ctx) => {
      await step(ctx, 'one')
      seen.push(patchedIn(ctx))
      await step(ctx, 'two')
      await stop(ctx)
      ctx.state.log.push(`patched ${patchedIn(ctx)}`)
    })
    const a = await world.node('a', [code])
    await begin(a, code, 'stop')
    a.kill()
    const b = await world.node('b', [code])
    expect(await ended(b)).toEqual(['patched true'])
    expect(seen).toEqual([true, true])
    const kept = (await b.journal('worker/k')).map((entry) => ('key' in entry ? entry.key : entry.k))
    expect(kept).toEqual(['init', 'accepted', 'one#0', 'patched', 'two#0', 'stop#0', 'end'])
  })

  test('[V6] asked before the turn is accepted, the mark is recorded with the acceptance', async () => {
    const seen: boolean[] = []
    const code = worker(async (ctx) => {
      seen.push(patchedIn(ctx))
      await step(ctx, 'one')
      await stop(ctx)
      ctx.state.log.push('done')
    })
    const a = await world.node('a', [code])
    await begin(a, code, 'stop')
    a.kill()
    const b = await world.node('b', [code])
    await ended(b)
    expect(seen).toEqual([true, true])
  })

  test('[V6] a turn recorded without the patch replays without it, also where it asks again later', async () => {
    const old = worker(async (ctx) => {
      await step(ctx, 'one')
      await step(ctx, 'two')
      await stop(ctx)
      ctx.state.log.push('old')
    })
    const code = worker(async (ctx) => {
      await step(ctx, 'one')
      if (patchedIn(ctx)) await step(ctx, 'fee')
      await step(ctx, 'two')
      await stop(ctx)
      await stop(ctx, 'again')
      ctx.state.log.push(`patched ${patchedIn(ctx)}`)
    })
    const a = await world.node('a', [old])
    await begin(a, old, 'stop')
    a.kill()
    const b = await world.node('b', [code])
    await world.until(() => oracle.count('again') === 1)
    b.kill()
    const c = await world.node('c', [code])
    expect(await ended(c)).toEqual(['patched false'])
    oracle.expectStep('fee').times(0)
    oracle.expectStep('two').once()
  })

  test('[V6] a request that had begun is recorded: what comes before it goes on without the patch', async () => {
    const old = worker(async (ctx) => {
      await ctx.sleep(60_000)
      ctx.state.log.push('old')
    })
    const code = worker(async (ctx) => {
      const before = patchedIn(ctx)
      await ctx.sleep(60_000)
      ctx.state.log.push(`${before} then ${ctx.patched('later')}`)
    })
    const a = await world.node('a', [old])
    await a.call(a.send(a.ref(old, 'k').work()))
    await world.until(async () => (await a.stored('worker/k')) !== undefined)
    await world.advance(100)
    a.kill()
    const b = await world.node('b', [code])
    expect(await ended(b)).toEqual(['false then true'])
  })

  test('[V6] the call may go when nobody needs the old branch any more', async () => {
    const code = (asks: boolean) =>
      worker(async (ctx) => {
        if (!asks || patchedIn(ctx)) await step(ctx, 'fee')
        await stop(ctx)
        ctx.state.log.push('done')
      })
    const a = await world.node('a', [code(true)])
    await begin(a, code(true), 'stop')
    a.kill()
    const b = await world.node('b', [code(false)])
    expect(await ended(b)).toEqual(['done'])
    oracle.expectStep('fee').once()
  })

  test('[V6] an ephemeral agent has every patch, and wrong ids are refused', async () => {
    const plain = agent('plain', {
      durability: 'ephemeral',
      state: () => ({}),
      on: { ask: (ctx) => ctx.patched('fees') },
    })
    const a = await world.node('a', [plain])
    expect(await a.call(a.ref(plain, 'k').ask())).toBe(true)
    const durable = worker(async (ctx) => ctx.patched(''))
    const b = await world.node('b', [durable])
    expect((await world.refusal(b.ref(durable, 'k').work())).message).toContain('Patch id')
  })
})

describe('divergence', () => {
  const places = worker(async (ctx) => {
    for (const name of ['one', 'two', 'three']) await step(ctx, name)
    await stop(ctx)
    ctx.state.log.push('places')
  })
  const packs = worker(async (ctx) => {
    for (const name of ['one', 'two', 'pack']) await step(ctx, name)
    ctx.state.log.push('packs')
  })
  const inspectOf = (node: TestNode) => new RuntimeInspect(node.core)

  async function diverged(): Promise<TestNode> {
    const a = await world.node('a', [places], { codeVersion: 'v1' })
    await begin(a, places, 'stop')
    a.kill()
    const b = await world.node('b', [packs], { codeVersion: 'v2' })
    await world.until(() => b.core.kernel.find('worker/k')?.status === 'diverged')
    return b
  }

  test('[T5] a parked process says what was expected, what was found, where, and under which code', async () => {
    const b = await diverged()
    const detail = await inspectOf(b).process('worker/k')
    expect(detail?.divergence).toMatchObject({
      op: 'work',
      expected: { kind: 'step', name: 'three', key: 'three#0' },
      found: [{ kind: 'step', name: 'pack', key: 'pack#0' }],
      ...{ ended: null, position: 3, recorded: 3, recordedBy: 'v1', runs: 'v2' },
    })
    expect(detail?.divergence?.text.slice(1)).toEqual([
      '     1  step       one#0',
      '     2  step       two#0',
      '-    3  step       three#0',
      '+       step       pack#0',
      'Recorded by code version v1, running v2.',
    ])
    const asked = 'journal expects three#0, code asks for pack#0 (result 3 of 3, code v1 then, v2 now)'
    expect(detail?.wait?.target).toBe(asked)
    await world.until(async () => (await b.journal('worker/k')).some((entry) => entry.k === 'diverged'))
    const [newest] = (await inspectOf(b).journal('worker/k', { limit: 1 })).items
    expect(newest?.summary).toContain('at result 3 of 3 (code v1 then, v2 now)')
    b.kill()
    const c = await world.node('c', [])
    const passive = await inspectOf(c).process('worker/k')
    expect(passive).toMatchObject({ status: 'diverged', divergence: detail?.divergence })
  })

  test.each(['resume', 'restart'] as const)('[T5] %s goes on once the right code is back', async (verb) => {
    let right = true
    const code = worker(async (ctx) => {
      for (const name of ['one', 'two', right ? 'three' : 'pack']) await step(ctx, name)
      await stop(ctx)
      ctx.state.log.push('places')
    })
    const a = await world.node('a', [code])
    await begin(a, code, 'stop')
    a.kill()
    right = false
    const b = await world.node('b', [code])
    await world.until(() => b.core.kernel.find('worker/k')?.status === 'diverged')
    right = true
    await world.advance(60_000)
    expect(b.core.kernel.find('worker/k')?.status).toBe('diverged')
    await b.call(b.control[verb]('worker/k', { actor: 'test' }))
    expect(await ended(b)).toEqual(['places'])
    for (const name of ['one', 'two', 'three']) oracle.expectStep(name).once()
    await world.until(() => b.core.kernel.find('worker/k')?.status === 'idle')
    expect((await inspectOf(b).process('worker/k'))?.divergence).toBeUndefined()
    expect((await b.core.backend.handle.archive.process('default', 'worker/k'))?.diverged).toBe(false)
  })

  test.each(['resume', 'restart'] as const)(
    '[T5] %s with the wrong code parks again and loses nothing',
    async (verb) => {
      const b = await diverged()
      await b.call(b.control[verb]('worker/k', { actor: 'test' }))
      await world.until(() => b.seen('process:diverge').length === 2)
      oracle.expectStep('pack').times(0)
      expect((await inspectOf(b).process('worker/k'))?.divergence?.position).toBe(3)
    },
  )

  test('[T5] a result is never handed to a request of another kind', async () => {
    const old = worker(async (ctx) => {
      await step(ctx, 'sleep')
      await stop(ctx)
    })
    const code = worker(async (ctx) => {
      await ctx.sleep(10)
      ctx.state.log.push('slept')
    })
    const a = await world.node('a', [old])
    await begin(a, old, 'stop')
    a.kill()
    const b = await world.node('b', [code])
    await world.until(() => b.core.kernel.find('worker/k')?.status === 'diverged')
    expect((await inspectOf(b).process('worker/k'))?.divergence).toMatchObject({
      expected: { kind: 'step', key: 'sleep#0' },
      found: [{ kind: 'sleep', key: 'sleep#0' }],
    })
  })
})
