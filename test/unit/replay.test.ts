/** Recorded turns against other code: what would go on, what would diverge, and that nothing happens meanwhile. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runProgram } from '../../server/cli/program.ts'
import { type AnyAgent, agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { recordedFile } from '../../server/host/recorded.ts'
import { replayTurns } from '../../server/host/replay.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { listen } from '../../server/http/listen.ts'
import { type RecordedProcess, type ReplayOutcome, replayText } from '../../shared/recorded.ts'
import { toyFeed } from '../support/feed-viewer.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})

afterEach(() => world.close())

type State = { log: string[] }
type Ctx = Context<State>
type Work = (ctx: Ctx, item: string) => unknown

const bin = agent('bin', { state: () => ({ n: 0 }), on: { drop: (ctx) => void ctx.state.n++ } })
const shop = (work: Work, more: { version?: number; upgrade?: { [from: number]: (old: never) => unknown } } = {}) =>
  agent('shop', {
    state: (): State => ({ log: [] }),
    on: { work, plain: (ctx: Ctx) => void ctx.state.log.push('plain') },
    ...more,
  })

const step = (ctx: Ctx, name: string) => ctx.step(name, () => `${name}${oracle.hit(name)}`)

/** Reserves, sleeps, charges, sends, and leaves what it got in the state. */
const order: Work = async (ctx, item) => {
  const reserved = await step(ctx, 'reserve')
  await ctx.sleep(1_000)
  const charged = await step(ctx, 'charge')
  ctx.send(ctx.ref(bin, 'b').drop())
  ctx.state.log.push(`${item} ${reserved} ${charged} ${ctx.now()} ${ctx.random()}`)
}

/** One finished turn of `work`, as it is stored. */
async function finished(work: Work, items = ['tea']): Promise<RecordedProcess> {
  const code = shop(work)
  const node = await world.node('a', [code, bin])
  await node.call(node.ref(code, 'k').plain())
  for (const item of items) await node.call(node.ref(code, 'k').work(item))
  return new RuntimeInspect(node.core).recorded('shop/k')
}

/** A turn that hangs in a step named `hang` after what came before. */
async function opened(work: Work): Promise<RecordedProcess> {
  const code = shop(async (ctx, item) => {
    await work(ctx, item)
    await ctx.step('hang', () => new Promise(() => void oracle.hit('hang')))
  })
  const node = await world.node('a', [code, bin])
  await node.call(node.send(node.ref(code, 'k').work('tea')))
  await world.until(() => oracle.count('hang') === 1)
  return new RuntimeInspect(node.core).recorded('shop/k')
}

async function outcomes(recorded: RecordedProcess, ...agents: AnyAgent[]): Promise<ReplayOutcome[]> {
  const { turns, ok } = await replayTurns(recorded, { agents: [bin, ...agents], codeVersion: 'next' })
  const bad = turns.some(({ outcome }) => outcome.kind === 'diverges' || outcome.kind === 'fails')
  expect(ok).toBe(!bad)
  return turns.map(({ outcome }) => outcome)
}

describe('replayTurns', () => {
  test('[V7] the same code comes to the same end, and nothing happens', async () => {
    const recorded = await finished(order, ['tea', 'milk'])
    const hits = [...oracle.log]
    const before = JSON.stringify(recorded)
    const report = await replayTurns(recorded, { agents: [bin, shop(order)] })
    expect(report).toMatchObject({ process: 'shop/k', ok: true, unrecorded: 1 })
    expect(report.turns.map(({ op, open, results, outcome }) => ({ op, open, results, outcome }))).toEqual([
      { op: 'work', open: false, results: 3, outcome: { kind: 'same' } },
      { op: 'work', open: false, results: 3, outcome: { kind: 'same' } },
    ])
    expect(oracle.log).toEqual(hits)
    expect(JSON.stringify(recorded)).toBe(before)
    expect(replayText(report).at(-1)).toContain('2 recorded turns, none diverges; 1 without')
  })

  test('[V7] the turn of activated is a turn like any other', async () => {
    const greets = agent('greets', {
      state: (): State => ({ log: [] }),
      on: { note: () => null },
      activated: async (ctx: Ctx) => void ctx.state.log.push(await step(ctx, 'greet')),
    })
    const node = await world.node('a', [greets])
    await node.call(node.ref(greets, 'k').note())
    const recorded = await new RuntimeInspect(node.core).recorded('greets/k')
    const report = await replayTurns(recorded, { agents: [greets] })
    expect(report.turns).toMatchObject([{ op: '$activated', results: 1, outcome: { kind: 'same' } }])
    oracle.expectStep('greet').once()
  })

  test('[V7] an open turn is replayed up to the last recorded result', async () => {
    const recorded = await opened(order)
    const further: Work = async (ctx, item) => {
      await order(ctx, item)
      await step(ctx, 'other')
    }
    const report = await replayTurns(recorded, { agents: [bin, shop(further)] })
    expect(report.turns).toMatchObject([{ open: true, results: 3, outcome: { kind: 'same' } }])
    oracle.expectStep('other').times(0)
  })

  test.each([
    ['finished', finished],
    ['open', opened],
  ])('[V7] a turn (%s) whose next result is not asked for diverges, with the comparison', async (_what, record) => {
    const recorded = await record(order)
    const packs: Work = async (ctx) => {
      await step(ctx, 'reserve')
      await step(ctx, 'pack')
    }
    const [outcome] = await outcomes(recorded, shop(packs))
    expect(outcome).toMatchObject({
      kind: 'diverges',
      divergence: { expected: { kind: 'sleep' }, found: [{ key: 'pack#0' }], position: 2, runs: 'next' },
    })
    oracle.expectStep('pack').times(0)
  })

  test('[V7] a finished turn that asks for more, or ends early, diverges', async () => {
    const recorded = await finished(order)
    const more: Work = async (ctx, item) => {
      await order(ctx, item)
      await step(ctx, 'more')
    }
    const early: Work = async (ctx) => {
      await step(ctx, 'reserve')
    }
    const rejects: Work = async (ctx) => {
      await step(ctx, 'reserve')
      throw new Reject('no')
    }
    expect(await outcomes(recorded, shop(more))).toMatchObject([
      { kind: 'diverges', divergence: { expected: null, found: [{ key: 'more#0' }] } },
    ])
    expect(await outcomes(recorded, shop(early))).toMatchObject([
      { kind: 'diverges', divergence: { ended: 'the end of the turn', position: 2 } },
    ])
    expect(await outcomes(recorded, shop(rejects))).toMatchObject([
      { kind: 'diverges', divergence: { ended: 'a rejection', position: 2 } },
    ])
    const [text] = (await outcomes(recorded, shop(more))).map((outcome) =>
      replayText({
        process: 'p',
        unrecorded: 0,
        ok: false,
        turns: [{ turn: 't', op: 'o', open: false, results: 3, outcome }],
      }),
    )
    expect(text?.join('\n')).toContain('-       the end of the turn\n    +       step       more#0')
  })

  test('[V7] the loser of a race, which left no result, is no divergence', async () => {
    const race: Work = async (ctx) => {
      const slow = ctx.step('slow', () => new Promise(() => {}))
      ctx.state.log.push(String(await Promise.race([step(ctx, 'fast'), slow])))
    }
    const recorded = await finished(race)
    expect(await outcomes(recorded, shop(race))).toEqual([{ kind: 'same' }])
    // Also when the code takes a moment of its own before it ends.
    const tarries: Work = async (ctx, item) => {
      await race(ctx, item)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(await outcomes(recorded, shop(tarries))).toEqual([{ kind: 'same' }])
  })

  test('[V7] another end of the same steps differs, place by place', async () => {
    const recorded = await finished(order)
    const quiet: Work = async (ctx) => {
      await step(ctx, 'reserve')
      await ctx.sleep(1_000)
      await step(ctx, 'charge')
      ctx.state.log.push('done')
    }
    const [outcome] = await outcomes(recorded, shop(quiet))
    expect(outcome).toMatchObject({
      kind: 'differs',
      changes: ['it sent 1 messages; now it sends 0', expect.stringMatching(/^\/log\/1: "tea reserve1 .* -> "done"$/)],
    })
  })

  test('[V7] states are upgraded first; what cannot be, what throws and what is gone fails', async () => {
    const recorded = await finished(order)
    const next = (upgrade: { [from: number]: (old: never) => unknown }) => shop(order, { version: 2, upgrade })
    const up = (old: State) => ({ log: [...old.log] })
    expect(await outcomes(recorded, next({ 1: up as never }))).toEqual([{ kind: 'same' }])
    const broken = (): never => {
      throw new TypeError('no such field')
    }
    expect(await outcomes(recorded, next({ 1: broken }))).toEqual([
      { kind: 'fails', error: expect.stringContaining('from 1 to 2 failed: no such field') },
    ])
    expect(await outcomes(recorded, next({}))).toMatchObject([
      { kind: 'fails', error: expect.stringContaining('from 1 to 2') },
    ])
    const throwing = shop(() => Promise.reject(new TypeError('boom')))
    expect(await outcomes(recorded, throwing)).toEqual([{ kind: 'fails', error: 'TypeError: boom' }])
    const gone = agent('shop', { state: () => ({}), on: {} })
    expect(await outcomes(recorded, gone)).toMatchObject([{ kind: 'fails' }])
    const newer = { ...recorded, journal: recorded.journal.map((row) => ({ ...row, stateVersion: 9 })) }
    const [outcome] = await outcomes(newer, shop(order))
    expect(outcome).toMatchObject({ kind: 'fails', error: expect.stringContaining('version 9') })
    await expect(replayTurns(recorded, { agents: [bin] })).rejects.toThrow('no agent "shop"')
  })

  test('[V7] a patch keeps recorded turns on their way', async () => {
    const recorded = await finished(order)
    const patched: Work = async (ctx, item) => {
      if (ctx.patched('fee')) await step(ctx, 'fee')
      await order(ctx, item)
    }
    expect(await outcomes(recorded, shop(patched))).toEqual([{ kind: 'same' }])
  })

  test('[V7] checkpoints, calls and received messages come from the journal, and streams take nothing', async () => {
    const mixed: Work = async (ctx, item) => {
      ctx.state.log.push('before')
      await ctx.checkpoint()
      await ctx.ref(bin, 'c').drop()
      await ctx.stream('out').write('a chunk')
      const got = await ctx.receive('plain', { timeoutMs: 10 })
      ctx.state.log.push(`${item} ${got === null}`)
    }
    const recorded = await finished(mixed)
    expect(await outcomes(recorded, shop(mixed))).toEqual([{ kind: 'same' }])
  })
})

test('[V7] large values are part of what is recorded, live and in an exported file', async () => {
  const big: Work = async (ctx) => {
    const text = await ctx.step('big', () => 'x'.repeat(200_000))
    ctx.state.log.push(text, String(await step(ctx, 'after')))
  }
  const recorded = await finished(big)
  const inspect = new RuntimeInspect((world.nodes[0] as TestNode).core) // made by `finished`
  const exported: unknown = JSON.parse(JSON.stringify(await inspect.exportProcess('shop/k')))
  for (const source of [recorded, recordedFile(exported)]) {
    expect(await outcomes(source, shop(big))).toEqual([{ kind: 'same' }])
  }
})

describe('viv replay', () => {
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'vivarium-replay-'))
  })

  afterEach(() => rm(folder, { recursive: true }))

  const definition = new URL('../../server/definition/agent.ts', import.meta.url).href

  async function viv(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const [out, err]: [string[], string[]] = [[], []]
    const code = await runProgram(args, {
      print: (line) => void out.push(line),
      complain: (line) => void err.push(line),
    })
    return { code, out: out.join('\n'), err: err.join('\n') }
  }

  async function moduleOf(name: string, steps: readonly string[]): Promise<string> {
    const path = join(folder, `${name}.ts`)
    const body = steps.map((one) => `await ctx.step('${one}', () => { throw new Error('it ran') })`).join('\n')
    const text = `import { agent } from ${JSON.stringify(definition)}
      export const shop = agent('shop', { state: () => ({ log: [] }), on: { async work(ctx) { ${body} } } })`
    await writeFile(path, text)
    return path
  }

  test('[V7] says what diverges and ends with 1; with 0 when nothing does', async () => {
    const recorded = await finished(async (ctx) => {
      await step(ctx, 'one')
      await step(ctx, 'two')
    })
    const file = join(folder, 'shop.json')
    await writeFile(file, JSON.stringify(recorded))
    const good = await viv('replay', file, '--modules', await moduleOf('good', ['one', 'two']))
    expect(good).toMatchObject({ code: 0, err: '' })
    expect(good.out).toContain('1 recorded turns, none diverges')
    const bad = await viv('replay', file, '--modules', await moduleOf('bad', ['one', 'three']))
    expect(bad.code).toBe(1)
    expect(bad.out).toContain('DIVERGES')
    expect(bad.out).toContain('-    2  step       two#0')
    const asJson = await viv('replay', file, '--json', '--modules', join(folder, 'bad.ts'))
    expect(JSON.parse(asJson.out)).toMatchObject({ ok: false, turns: [{ outcome: { kind: 'diverges' } }] })
    const node = world.nodes[0] as TestNode // made by `finished`
    const listening = await listen({
      inspect: new RuntimeInspect(node.core),
      control: node.control,
      web: false,
      port: 0,
      feed: toyFeed().feed,
    })
    const live = await viv('replay', 'shop/k', '--url', listening.url, '--modules', join(folder, 'bad.ts'))
    const kept = await viv('inspect', 'shop/k', 'recorded', '--url', listening.url)
    await listening.close()
    expect(live).toEqual(bad)
    expect(JSON.parse(kept.out)).toEqual(recorded)
    expect((await viv('replay', file)).code).toBe(2)
    const exported = join(folder, 'exported.json')
    await writeFile(exported, JSON.stringify(await new RuntimeInspect(node.core).exportProcess('shop/k')))
    expect(await viv('replay', exported, '--modules', join(folder, 'bad.ts'))).toEqual(bad)
    await writeFile(file, '{}')
    const invalid = await viv('replay', file, '--modules', join(folder, 'bad.ts'))
    expect(invalid).toMatchObject({ code: 1, err: expect.stringContaining('is not one of ours') })
  })
})
