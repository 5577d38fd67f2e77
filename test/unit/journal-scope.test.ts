/** Scopes of a turn: what their end reaches, what it leaves alone, and what a replay makes of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { ScopeOptions } from '../../server/definition/context.ts'
import { replayTurns } from '../../server/host/replay.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { newMessage } from '../../server/journal/message.ts'
import { NO_LINEAGE } from '../../server/kernel/envelope.ts'
import { isRuntimeError } from '../../shared/error.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000

let world: World
let oracle: Oracle
let held = gate()
beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  held = gate()
})
afterEach(() => world.close())

const codeOf = (error: unknown): string => (isRuntimeError(error) ? error.code : String(error))
const wordsOf = (error: unknown): string => String((error as { detail?: { reason?: string } }).detail?.reason ?? error)

const helper = agent('helper', {
  state: () => ({ done: 0 }),
  on: {
    async slow(ctx) {
      await ctx.sleep(HOUR)
      ctx.state.done += 1
    },
    async work(ctx) {
      oracle.hit('child works')
      try {
        await ctx.sleep(HOUR)
      } catch (error) {
        await ctx.step('stopped', () => oracle.hit('child stopped'))
        throw error
      }
    },
  },
})

const worker = agent('worker', {
  state: () => ({ log: [] as string[] }),
  maxAttempts: 2,
  passivateAfterMs: 60_000,
  on: {
    poke: (ctx, text: string) => void ctx.state.log.push(`poked ${text}`),
    other: () => {},
    /** All kinds at once, and a sleep beside the scope. */
    async all(ctx) {
      const told = async (name: string, wait: Promise<unknown>): Promise<void> => {
        ctx.state.log.push(`${name} ${await wait.then(() => 'done', codeOf)}`)
      }
      const beside = told('beside', ctx.sleep(5_000))
      const within = ctx.scope({ timeoutMs: 1_000 }, async () => {
        await Promise.all([
          told('sleep', ctx.sleep(HOUR)),
          told(
            'step',
            ctx.step('long', ({ signal }) => {
              signal.addEventListener('abort', () => void oracle.hit(`aborted ${codeOf(signal.reason)}`))
              return held.promise
            }),
          ),
          told('receive', ctx.receive('poke')),
          told('call', ctx.call(ctx.ref(helper, 'h').slow())),
        ])
        await told(
          'later',
          ctx.step('later', () => oracle.hit('later')),
        )
        return ctx.sleep(1)
      })
      ctx.state.log.push(await within.then(() => 'ended', wordsOf))
      await ctx.step('after', () => oracle.hit('after'))
      await beside
      ctx.state.log.push('end')
    },
    async race(ctx) {
      const first = await ctx.scope({}, () => Promise.race([ctx.receive<string>('poke'), ctx.receive('other')]))
      ctx.state.log.push(`took ${first.op}`)
      await ctx.sleep(5_000)
      ctx.state.log.push('end')
    },
    async given(ctx) {
      const outcome = ctx.scope({}, async (scope) => {
        const rest = ctx.sleep(HOUR).then(() => 'slept', wordsOf)
        await ctx.sleep(100)
        scope.cancel('enough')
        scope.cancel('twice')
        return [await rest, await ctx.sleep(1).then(() => 'slept', wordsOf)]
      })
      ctx.state.log.push(...(await outcome))
      await ctx.step('after', () => oracle.hit('after'))
      ctx.state.log.push('end')
    },
    /** Two scopes are cancelled in one breath. */
    async both(ctx) {
      const scopes: { cancel(why: string): void }[] = []
      const told = (name: string): Promise<void> =>
        ctx.scope({}, async (scope) => {
          scopes.push(scope)
          const wait = async (n: number): Promise<void> => {
            await ctx.sleep(HOUR).catch((error: unknown) => ctx.state.log.push(`${name}${n} ${wordsOf(error)}`))
            await ctx.shield(() => ctx.step(`told ${name}${n}`, () => null))
          }
          await Promise.all([wait(1), wait(2)])
        })
      const all = [told('a'), told('b')]
      await ctx.sleep(100)
      for (const scope of scopes) scope.cancel('now')
      await Promise.all(all)
      ctx.state.log.push('end')
    },
    async nested(ctx, { outer, inner }: { outer: number; inner: number }) {
      const words = await ctx.scope({ timeoutMs: outer }, async () => {
        const first = await ctx
          .scope({ timeoutMs: inner }, () => ctx.sleep(HOUR))
          .then(
            () => 'slept',
            (error: unknown) => wordsOf(error),
          )
        const second = await ctx.sleep(10).then(() => 'goes on', wordsOf)
        return [first, second]
      })
      ctx.state.log.push(...words, 'end')
    },
    async shielded(ctx) {
      await ctx
        .scope({ timeoutMs: 1_000 }, async () => {
          try {
            await ctx.shield(async () => {
              await ctx.sleep(3_000)
              await ctx.step('save', () => oracle.hit('saved'))
            })
            await ctx.step('more', () => oracle.hit('more'))
          } finally {
            await ctx.shield(() => ctx.step('clean', () => oracle.hit('cleaned')))
          }
        })
        .catch((error: unknown) => ctx.state.log.push(codeOf(error)))
      ctx.state.log.push('end')
    },
    async inTime(ctx) {
      ctx.state.log.push(
        await ctx.scope({ timeoutMs: 60_000 }, async () => {
          await ctx.sleep(10)
          return 'in time'
        }),
      )
      await ctx.sleep(HOUR)
      ctx.state.log.push('end')
    },
    async late(ctx, timeoutMs: number) {
      const got = await ctx.scope({ timeoutMs }, () => ctx.receive<string>('poke')).catch(codeOf)
      ctx.state.log.push(typeof got === 'string' ? got : got.message)
      await ctx.step('hold', () => held.promise)
      ctx.state.log.push('end')
    },
    async parent(ctx) {
      const ended = await ctx
        .scope({ timeoutMs: 1_000 }, async () => {
          const started = await ctx.start(helper, 'c', 'work', null, { parentClose: 'stop' })
          return started.result()
        })
        .catch(codeOf)
      ctx.state.log.push(String(ended))
      await ctx.sleep(5_000)
      ctx.state.log.push('end')
    },
    async leaves(ctx) {
      await ctx.scope({}, async () => {
        void ctx.sleep(HOUR).catch(() => {})
        await ctx.start(helper, 'c', 'work', null, { parentClose: 'stop' })
      })
      await ctx.sleep(5_000)
      ctx.state.log.push(`stopped ${oracle.count('child stopped')}`)
    },
    async firm(ctx) {
      const outcome = await ctx
        .scope({ timeoutMs: 1_000 }, async () => {
          const started = await ctx.start(helper, 'c', 'work')
          ctx.state.log.push(`started ${started.created}`)
          await ctx.start(helper, 'd', 'work')
        })
        .catch(codeOf)
      ctx.state.log.push(String(outcome), 'end')
    },
    async uncaught(ctx) {
      oracle.hit('try')
      await ctx.scope({ timeoutMs: 1_000 }, () => ctx.sleep(HOUR))
    },
    async cancelled(ctx) {
      await ctx.scope({ timeoutMs: 5_000 }, async () => {
        try {
          await ctx.sleep(HOUR)
        } catch (error) {
          ctx.state.log.push(wordsOf(error))
          await ctx.step('clean', () => oracle.hit('cleaned'))
          await ctx.sleep(HOUR).catch((limit: unknown) => ctx.state.log.push(wordsOf(limit)))
        }
      })
      ctx.state.log.push('end')
    },
    async bad(ctx, options: ScopeOptions) {
      await ctx.scope(options, () => null)
    },
  },
})

const pokeRow = () =>
  newMessage({
    id: 'p',
    target: 'worker/w',
    kind: 'send',
    op: 'poke',
    args: 'late',
    sender: null,
    n: 0,
    lineage: NO_LINEAGE,
  })
const logOf = async (node: TestNode): Promise<string[]> => {
  const state = (await node.stored('worker/w')) as { log: string[] } | undefined
  return state?.log ?? []
}
const isEnded = (node: TestNode, op: string) => (): boolean =>
  node.written().some((entry) => entry.k === 'end' && entry.op === op)

type Op = 'all' | 'race' | 'given' | 'both' | 'shielded' | 'inTime' | 'parent' | 'leaves' | 'firm'

async function begin(op: Op): Promise<TestNode> {
  const node = await world.node('a', [worker, helper])
  await node.send(node.ref(worker, 'w')[op]())
  await world.until(() => node.core.kernel.find('worker/w')?.wait != null, 'the first wait')
  return node
}

const ALL = ['sleep CANCELLED', 'step CANCELLED', 'receive CANCELLED', 'call CANCELLED', 'later CANCELLED']
const LIMIT = 'its time limit of 1000 ms passed'

describe('the end of a scope', () => {
  test('[Y8] by its limit: what is open in it ends, and what is asked for later; the rest goes on', async () => {
    const node = await begin('all')
    await world.until(isEnded(node, 'all'), 'the end')
    expect(await logOf(node)).toEqual([...ALL, LIMIT, 'beside done', 'end'])
    expect([oracle.count('later'), oracle.count('aborted CANCELLED')]).toEqual([0, 1])
    oracle.expectStep('after').once()
    const posted = node.faults.committed.flatMap((row) => row.messages ?? [])
    expect(posted.filter(({ kind }) => kind === 'withdraw')).toHaveLength(1)
    const counts = await node.core.backend.handle.archive.mailboxCounts('default', ['worker/w', 'helper/h'])
    expect(counts.get('worker/w') ?? 0).toBe(0)
  })

  test('[Y8] by its code: once, with the reason', async () => {
    const node = await begin('given')
    await world.until(isEnded(node, 'given'), 'the end')
    expect(await logOf(node)).toEqual(['enough', 'enough', 'end'])
  })

  test('[Y8] an inner limit ends the inner scope, an outer one both', async () => {
    const node = await world.node('a', [worker, helper])
    await node.call(node.ref(worker, 'w').nested({ outer: 60_000, inner: 1_000 }))
    expect(await logOf(node)).toEqual([LIMIT, 'goes on', 'end'])
    await node.call(node.ref(worker, 'w').nested({ outer: 1_000, inner: 60_000 }))
    expect((await logOf(node)).slice(3)).toEqual([LIMIT, LIMIT, 'end'])
  })

  test('[Y8] no time at all: nothing in it begins', async () => {
    const node = await world.node('a', [worker, helper])
    await node.send(node.ref(worker, 'w').late(0))
    await node.send(node.ref(worker, 'w').poke('early'))
    held.open()
    await world.until(async () => (await logOf(node)).length === 3)
    expect(await logOf(node)).toEqual(['CANCELLED', 'end', 'poked early'])
  })

  test('[Y8] does not reach into a shielded section, and is heard after it', async () => {
    const node = await begin('shielded')
    await world.until(isEnded(node, 'shielded'), 'the end')
    expect(await logOf(node)).toEqual(['CANCELLED', 'end'])
    expect(['saved', 'more', 'cleaned'].map((name) => oracle.count(name))).toEqual([1, 0, 1])
  })

  test('[Y8] the begin of an operation comes to its outcome, the next one does not begin', async () => {
    const node = await world.node('a', [worker, helper])
    const free = gate()
    node.faults.next('request', { kind: 'hold', until: free.promise })
    await node.send(node.ref(worker, 'w').firm())
    await world.until(() => node.written().some((entry) => entry.k === 'due'), 'the limit')
    await world.advance(2_000)
    expect(node.written().some((entry) => entry.k === 'cancelled' && entry.key === 'scope#0')).toBe(true)
    free.open()
    await world.until(isEnded(node, 'firm'), 'the end')
    expect(await logOf(node)).toEqual(['started true', 'CANCELLED', 'end'])
    expect(node.core.kernel.find('helper/d')).toBeUndefined()
  })

  test('[Y8] what it started with `stop` is cancelled, once', async () => {
    const node = await begin('parent')
    await world.until(isEnded(node, 'parent'), 'the end')
    expect(await logOf(node)).toEqual(['CANCELLED', 'end'])
    await world.until(() => oracle.count('child stopped') === 1)
    const posted = node.faults.committed.flatMap((row) => row.messages ?? [])
    expect(posted.filter(({ kind }) => kind === 'cancel')).toHaveLength(1)
  })

  test('[Y8] uncaught, it fails the turn', async () => {
    const node = await world.node('a', [worker, helper])
    expect((await world.refusal(node.ref(worker, 'w').uncaught())).message).toContain(LIMIT)
    expect(oracle.count('try')).toBe(2)
  })

  test('[Y2][Y8] a cancelled turn may clean up in a scope, whose limit goes on', async () => {
    const node = await world.node('a', [worker, helper])
    const handle = await node.start(node.ref(worker, 'w').cancelled())
    await world.until(() => node.core.kernel.find('worker/w')?.wait != null)
    await world.run(handle.cancel('not now'))
    await world.run(handle.result())
    expect(await logOf(node)).toEqual(['not now', 'its time limit of 5000 ms passed', 'end'])
    oracle.expectStep('cleaned').once()
  })
})

describe('a scope that is left', () => {
  test('[Y9] takes along what lost a race: a receive takes no message any more', async () => {
    const node = await begin('race')
    await node.send(node.ref(worker, 'w').other())
    await world.until(() => node.written().some((entry) => entry.k === 'cancelled'), 'the end of the loser')
    await node.send(node.ref(worker, 'w').poke('later'))
    await world.until(async () => (await logOf(node)).length === 3)
    expect(await logOf(node)).toEqual(['took other', 'end', 'poked later'])
  })

  test('[Y9] in time leaves nothing of its limit, on a replay too', async () => {
    const a = await begin('inTime')
    await world.until(() => a.written().filter((entry) => entry.k === 'due').length === 3, 'the second sleep')
    expect(a.written().some((entry) => entry.k === 'cancelled')).toBe(false)
    a.kill()
    const b = await world.node('b', [worker, helper])
    await world.advance(120_000)
    world.jump(HOUR)
    await world.until(isEnded(b, 'inTime'), 'the end')
    expect(await logOf(b)).toEqual(['in time', 'end'])
    expect(b.written().some((entry) => entry.k === 'cancelled')).toBe(false)
  })

  test('[Y9] does not end what it started: the turn does', async () => {
    const node = await begin('leaves')
    await world.until(isEnded(node, 'leaves'), 'the end')
    expect(await logOf(node)).toEqual(['stopped 0'])
    await world.until(() => oracle.count('child stopped') === 1)
  })
})

describe('over crashes', () => {
  test.each([
    ['all', [...ALL, LIMIT, 'beside done', 'end']],
    ['given', ['enough', 'enough', 'end']],
    ['both', ['a1 now', 'a2 now', 'b1 now', 'b2 now', 'end']],
    ['shielded', ['CANCELLED', 'end']],
    ['parent', ['CANCELLED', 'end']],
  ] as const)(
    '[Y8] "%s" ends the same, whichever commit its node dies at',
    async (op, log) => {
      for (let n = 1; n <= 12; n++) {
        world = World.memory()
        oracle = new Oracle()
        const a = await world.node('a', [worker, helper])
        let left = n
        a.faults.plan(({ method, batch }) => {
          if (method !== 'commit' || !batch.some(({ id }) => id === 'worker/w')) return undefined
          left -= 1
          return left === 0 ? { kind: 'die', when: n % 2 === 0 ? 'before' : 'after' } : undefined
        })
        void a.send(a.ref(worker, 'w')[op]()).catch(() => {})
        const { archive } = a.core.backend.handle
        const isThere = async (): Promise<boolean> => (await archive.process('default', 'worker/w')) !== null
        await world.until(() => a.dead || isEnded(a, op)(), 'a death or the end')
        const b = await world.node('b', [worker, helper])
        await world.until(isThere)
        await world.until(async () => (await logOf(b)).includes('end'), `the end of ${op} after commit ${n}`)
        expect([n, await logOf(b)]).toEqual([n, log])
        expect(b.seen('process:diverge')).toEqual([])
        await world.close()
      }
      world = World.memory()
    },
    60_000,
  ) // twelve pairs of nodes

  test('[Y8] a limit that passed while nobody ran it is heard at once; a later message is not taken', async () => {
    const a = await world.node('a', [worker, helper])
    await a.send(a.ref(worker, 'w').late(60_000))
    await world.until(() => a.written().some((entry) => entry.k === 'due'), 'the limit')
    a.kill()
    world.jump(120_000)
    const other = await world.node('other', [helper])
    await world.run(other.core.backend.handle.store.enqueue(other.core.node, [pokeRow()]))
    const b = await world.node('b', [worker, helper])
    held.open()
    await world.until(async () => (await logOf(b)).length === 3)
    expect(await logOf(b)).toEqual(['CANCELLED', 'end', 'poked late'])
  })

  test('[Y8] a parked turn is woken by its limit', async () => {
    const node = await world.node('a', [worker, helper])
    await node.send(node.ref(worker, 'w').late(10 * HOUR))
    await world.until(() => node.core.kernel.find('worker/w') === undefined, 'parking')
    world.jump(9 * HOUR)
    await world.advance(100)
    expect(node.core.kernel.find('worker/w')).toBeUndefined()
    world.jump(HOUR)
    held.open()
    await world.until(isEnded(node, 'late'), 'the end')
    expect(await logOf(node)).toEqual(['CANCELLED', 'end'])
  })

  test('[Y8][V7] recorded turns with scopes are the same under the same code', async () => {
    const node = await begin('all')
    await world.until(isEnded(node, 'all'), 'the end')
    const recorded = await world.run(new RuntimeInspect(node.core).recorded('worker/w'))
    expect((await replayTurns(recorded, { agents: [worker, helper] })).turns).toMatchObject([
      { op: 'all', outcome: { kind: 'same' } },
    ])
  })
})

test('[Y8] options that do not exist or are out of bounds, and agents without a journal, are refused', async () => {
  const light = agent('light', {
    durability: 'ephemeral',
    state: () => null,
    on: { run: (ctx) => ctx.scope({}, () => 'done') },
  })
  const node = await world.node('a', [worker, helper, light])
  const refused = async (options: object): Promise<string> =>
    (await world.refusal(node.ref(worker, 'w').bad(options as ScopeOptions))).message
  expect(await refused({ timeoutMs: -1 })).toContain('-1 ms')
  expect(await refused({ timeoutMS: 1 })).toContain('"timeoutMS"')
  expect((await world.refusal(node.ref(light, 'l').run())).message).toContain('ephemeral')
})
