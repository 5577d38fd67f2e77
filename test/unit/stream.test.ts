/** Streams of agents: visible at once, written once whatever happens to the turn, read from anywhere. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { StreamItem } from '../../server/observe/streams.ts'
import { STREAM_RECORD_BYTES_MAX, STREAMS_PER_PROCESS_MAX } from '../../server/store/stream.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const shown = (item: StreamItem): string => (item.kind === 'chunk' ? String(item.value) : `reset ${item.to}`)

/** Reads in the background; what came so far is in `items`. */
function reading(node: TestNode, id: string, name: string, from = 0) {
  const items: StreamItem[] = []
  const state = { items, ended: false, error: null as { code?: string } | null }
  const run = async () => {
    for await (const item of node.core.streams.read(id, name, { from })) items.push(item)
    state.ended = true
  }
  run().catch((error: { code?: string }) => {
    state.error = error
  })
  return state
}

/** What a reader makes of the items: chunks that no reset voided. */
function folded(items: readonly StreamItem[]): string[] {
  let valid: StreamItem[] = []
  for (const item of items) {
    if (item.kind === 'chunk') valid.push(item)
    else valid = valid.filter((at) => at.turn !== item.turn || at.step !== item.step || at.offset < item.to)
  }
  return valid.map(shown)
}

async function all(node: TestNode, id: string, name: string): Promise<StreamItem[]> {
  const found = reading(node, id, name)
  await world.until(() => found.ended, `the end of ${name}`)
  return found.items
}

describe('writing', () => {
  test('[R1] chunks are read while the turn still runs, in order, and the reader ends with the stream', async () => {
    const hold = gate()
    const teller = agent('teller', {
      state: () => ({ told: 0 }),
      on: {
        async tell(ctx) {
          const out = ctx.stream('answer')
          for (const word of ['a', 'b', 'c']) await out.write(word)
          await hold.promise
          await out.append({ last: true })
          await out.close()
          ctx.state.told += 1
        },
      },
    })
    const node = await world.node('n', [teller])
    const read = reading(node, 'teller/t', 'answer')
    const told = node.ref(teller, 't').tell()
    void Promise.resolve(told)
    await world.until(() => read.items.length === 3)
    expect(read.items.map(shown)).toEqual(['a', 'b', 'c'])
    expect(await node.stored('teller/t')).toEqual({ told: 0 })
    expect(read.ended).toBe(false)
    hold.open()
    await world.until(() => read.ended)
    expect(read.items.map(({ offset }) => offset)).toEqual([0, 1, 2, 3])
    expect(read.items[3]).toMatchObject({ kind: 'chunk', value: { last: true }, step: null, attempt: 1 })
    expect((await all(node, 'teller/t', 'answer')).map(shown).slice(0, 3)).toEqual(['a', 'b', 'c'])
  })

  test('[R1] what a turn wrote without waiting is stored before the turn ends', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        tell: (ctx) =>
          void ctx
            .stream('s')
            .write('only')
            .then(() => ctx.stream('s').close()),
      },
    })
    const node = await world.node('n', [teller])
    await node.call(node.ref(teller, 't').tell())
    const row = await node.core.streams.row('processes/teller/t/s')
    expect(row).toMatchObject({ tail: 1 })
  })

  test('[R1] the result of a step is handed over after the chunks that it did not wait for', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          await ctx.step('model', (info) => void info.stream('s').write('text'))
          oracle.hit('handed over')
        },
      },
    })
    const node = await world.node('n', [teller])
    const open = gate()
    node.faults.next('appendStreams', { kind: 'hold', until: open.promise })
    const told = Promise.resolve(node.ref(teller, 't').tell())
    await world.until(() => node.faults.counts.get('appendStreams') === 1)
    await world.advance(1_000)
    expect(oracle.count('handed over')).toBe(0)
    open.open()
    await world.run(told)
    expect(oracle.count('handed over')).toBe(1)
  })

  test('[R1] a failed turn leaves what it showed', async () => {
    const teller = agent('teller', {
      state: () => null,
      maxAttempts: 1,
      on: {
        async tell(ctx) {
          const out = ctx.stream('s')
          await out.write('shown')
          await out.close()
          throw new Error('after')
        },
      },
    })
    const node = await world.node('n', [teller])
    await world.refusal(node.ref(teller, 't').tell())
    expect((await all(node, 'teller/t', 's')).map(shown)).toEqual(['shown'])
  })

  test('[R2] many chunks cost few statements', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('s')
          for (let i = 0; i < 200; i++) {
            await out.write(`token ${i}`)
            await new Promise<void>((resolve) => void world.clock.after(5, resolve))
          }
          await out.close()
        },
      },
    })
    const node = await world.node('n', [teller])
    await node.call(node.ref(teller, 't').tell())
    expect(await all(node, 'teller/t', 's')).toHaveLength(200)
    expect(node.faults.counts.get('appendStreams')).toBeLessThanOrEqual(30)
  })

  test('[R2] a writer waits while much of its stream is unstored', async () => {
    const written = { n: 0 }
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('s')
          for (let i = 0; i < 40; i++) {
            await out.write('x'.repeat(20_000))
            written.n += 1
          }
          await out.close()
        },
      },
    })
    const node = await world.node('n', [teller])
    const open = gate()
    node.faults.next('appendStreams', { kind: 'hold', until: open.promise })
    const told = Promise.resolve(node.ref(teller, 't').tell())
    await world.until(() => written.n > 10)
    await world.advance(2_000)
    expect(written.n).toBeLessThan(20)
    open.open()
    await world.run(told)
    expect(await all(node, 'teller/t', 's')).toHaveLength(40)
  })

  test('[R3] limits are typed errors: a large chunk, a closed stream, a name, too many streams, a step', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        async large(ctx) {
          await ctx.stream('s').write('x'.repeat(STREAM_RECORD_BYTES_MAX))
        },
        async closed(ctx) {
          const out = ctx.stream('c')
          await out.close()
          await out.close()
          await out.write('late')
        },
        slash: (ctx) => ctx.stream('a/b'),
        async many(ctx) {
          for (let i = 0; i <= STREAMS_PER_PROCESS_MAX; i++) await ctx.stream(`s${i}`).write(i)
        },
        step: (ctx) => ctx.step('s', () => ctx.stream('x').write('x'), { retry: { max: 1 } }),
      },
    })
    const node = await world.node('n', [teller])
    const code = async (op: 'large' | 'closed' | 'slash' | 'many' | 'step') => {
      let error: unknown
      await world.run(
        Promise.resolve(node.ref(teller, op)[op]()).catch((thrown: unknown) => {
          error = thrown
        }),
      )
      return JSON.stringify(error, ['code', 'message', 'cause']) + String((error as Error | undefined)?.message)
    }
    expect(await code('large')).toContain('the most allowed')
    expect(await code('closed')).toContain('is closed')
    expect(await code('slash')).toContain('not possible')
    expect(await code('many')).toContain('the most allowed')
    expect(await code('step')).toContain('info.stream')
  })
})

describe('replay', () => {
  test('[R4] a turn that is replayed on another node does not write again what it wrote', async () => {
    const hold = gate()
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('answer')
          await out.write('one')
          await ctx.step('work', () => oracle.hit('work'))
          await out.write('two')
          await out.flush()
          if (oracle.hit('run') === 1) await hold.promise
          await out.write('three')
          await out.close()
        },
      },
    })
    const first = await world.node('a', [teller])
    await first.send(first.ref(teller, 't').tell())
    await world.until(async () => (await first.core.streams.row('processes/teller/t/answer'))?.tail === 2)
    first.kill()
    const second = await world.node('b', [teller])
    expect((await all(second, 'teller/t', 'answer')).map(shown)).toEqual(['one', 'two', 'three'])
    oracle.expectStep('work').once()
  })

  test('[R4] where the code says something else, a reset voids the rest of the earlier run', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('answer')
          const run = oracle.hit('run')
          await out.write('same')
          await out.write(`run ${run}`)
          await out.write('tail')
          if (run === 1) throw new Error('first')
          await out.close()
        },
      },
    })
    const node = await world.node('n', [teller])
    await node.call(node.ref(teller, 't').tell())
    const items = await all(node, 'teller/t', 'answer')
    expect(items.map(shown)).toEqual(['same', 'run 1', 'tail', 'reset 1', 'run 2', 'tail'])
    expect(items.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 2, 2, 2])
    expect(folded(items)).toEqual(['same', 'run 2', 'tail'])
  })

  test('[R4] each attempt of a step begins with a reset of the last, after a crash of the node too', async () => {
    const hold = gate()
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          await ctx.step('model', async (info) => {
            const out = info.stream('answer')
            const run = oracle.hit('model')
            await out.write(`${run}a`)
            if (run === 1) throw new Error('cut off')
            await out.write(`${run}b`)
            await out.flush()
            if (run === 2) await hold.promise
            await out.close()
          })
        },
      },
    })
    const first = await world.node('a', [teller])
    await first.send(first.ref(teller, 't').tell())
    await world.until(async () => (await first.core.streams.row('processes/teller/t/answer'))?.tail === 4)
    first.kill()
    const second = await world.node('b', [teller])
    const items = await all(second, 'teller/t', 'answer')
    expect(items.map(shown)).toEqual(['1a', 'reset 0', '2a', '2b', 'reset 0', '3a', '3b'])
    expect(items.map(({ attempt }) => attempt)).toEqual([1, 2, 2, 2, 3, 3, 3])
    expect(items.every(({ step }) => step === 'model#0')).toBe(true)
    expect(folded(items)).toEqual(['3a', '3b'])
  })

  test('[R4] an attempt that timed out writes nothing into the one that follows', async () => {
    const late = gate()
    let refused: Promise<unknown> = Promise.resolve(null)
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          await ctx.step(
            'model',
            async (info) => {
              const out = info.stream('answer')
              await out.write(`attempt ${info.attempt}`)
              if (info.attempt === 1) {
                refused = late.promise.then(() => out.write('late')).catch((error: unknown) => error)
                await new Promise(() => {})
              }
              late.open()
              await refused
              await out.close()
            },
            { timeoutMs: 1_000 },
          )
        },
      },
    })
    const node = await world.node('n', [teller])
    await node.call(node.ref(teller, 't').tell())
    expect(await refused).toMatchObject({ code: 'CONTEXT_CLOSED' })
    expect((await all(node, 'teller/t', 'answer')).map(shown)).toEqual(['attempt 1', 'reset 0', 'attempt 2'])
  })

  test('[R4] a turn that leaves memory while it waits goes on with its stream', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('s')
          oracle.hit('run')
          await out.write('before')
          await ctx.sleep(3_600_000)
          await out.write('after')
          await out.close()
        },
      },
    })
    const node = await world.node('n', [teller])
    await node.send(node.ref(teller, 't').tell())
    await world.until(() => node.seen('process:passivate').length > 0)
    await world.advance(3_600_000)
    expect((await all(node, 'teller/t', 's')).map(shown)).toEqual(['before', 'after'])
    expect(oracle.count('run')).toBe(2)
  })

  test('[R4] a lost answer of the store writes nothing twice', async () => {
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          oracle.hit('run')
          const out = ctx.stream('s')
          await out.write('a')
          await out.flush()
          await out.write('b')
          await out.close()
        },
      },
    })
    const node = await world.node('n', [teller])
    node.faults.next('appendStreams', { kind: 'lost' }, 2)
    await node.call(node.ref(teller, 't').tell())
    expect((await all(node, 'teller/t', 's')).map(shown)).toEqual(['a', 'b'])
    oracle.expectStep('run').once()
  })

  test('[R4] an owner that was fenced writes nothing into the stream of its heir', async () => {
    const hold = gate()
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('s')
          const run = oracle.hit('run')
          await out.write('same')
          await out.flush()
          if (run === 1) {
            await hold.promise
            await out.write('stale')
            await out.flush().catch(() => oracle.hit('refused'))
          }
          await out.close()
        },
      },
    })
    const first = await world.node('a', [teller])
    await first.send(first.ref(teller, 't').tell())
    await world.until(async () => (await first.core.streams.row('processes/teller/t/s'))?.tail === 1)
    const second = await world.node('b', [teller])
    const { id, epoch } = first.core.node
    await second.core.backend.handle.store.buryNode(second.core.node, { id, epoch }, 'host')
    await world.until(() => oracle.count('run') === 2)
    hold.open()
    const items = await all(second, 'teller/t', 's')
    expect(items.map(shown)).toEqual(['same'])
    await world.until(() => oracle.count('refused') === 1)
  })
})

describe('reading', () => {
  test('[R5] reading goes on from any offset, on a node that does not write too', async () => {
    const hold = gate()
    const teller = agent('teller', {
      state: () => null,
      on: {
        async tell(ctx) {
          const out = ctx.stream('s')
          for (let i = 0; i < 5; i++) await out.write(i)
          await hold.promise
          await out.write(5)
          await out.close()
        },
      },
    })
    const node = await world.node('a', [teller])
    const other = await world.node('b', [])
    const far = reading(other, 'teller/t', 's', 3)
    await node.send(node.ref(teller, 't').tell())
    await world.until(() => far.items.length === 2)
    expect(far.items.map(shown)).toEqual(['3', '4'])
    hold.open()
    await world.until(() => far.ended)
    expect(far.items.map(({ offset }) => offset)).toEqual([3, 4, 5])
  })

  test('[R5] a reader that leaves or is aborted leaves nothing behind, and a stopped runtime says so', async () => {
    const node = await world.node('a', [])
    const abort = new AbortController()
    const reader = node.core.streams.read('teller/t', 's', { signal: abort.signal })
    const next = reader.next()
    await world.settle()
    abort.abort()
    expect(await world.run(next)).toEqual({ done: true, value: undefined })
    const before = node.faults.counts.get('streamRow') ?? 0
    await world.advance(10_000)
    expect(node.faults.counts.get('streamRow') ?? 0).toBe(before)
    const second = reading(node, 'teller/t', 's')
    await world.settle()
    await node.stop()
    await world.until(() => second.error !== null)
    expect(second.error).toMatchObject({ code: 'RUNTIME_STOPPED' })
  })
})

test('[R4] what a turn wrote before an operator lets it run again is repeated or void', async () => {
  const hold = gate()
  const poet = agent('poet', {
    state: () => ({ said: 0 }),
    on: {
      async say(ctx) {
        const run = oracle.hit('run')
        const out = ctx.stream('answer')
        for (const word of ['a', `b${run}`]) await out.write(word)
        await ctx.step('sing', async ({ stream }) => {
          await stream('answer').write(`sung ${run}`)
          await hold.promise
        })
        await out.close()
      },
    },
  })
  const node = await world.node('n', [poet])
  await node.send(node.ref(poet, 'p').say())
  const read = reading(node, 'poet/p', 'answer')
  await world.until(() => read.items.length === 3)
  await node.call(node.control.retryTurn('poet/p', { actor: 'operator:ana' }))
  await world.until(() => oracle.count('run') === 2 && folded(read.items).includes('sung 2'))
  hold.open()
  await world.until(() => read.ended)
  expect(folded(read.items)).toEqual(['a', 'b2', 'sung 2'])
})
