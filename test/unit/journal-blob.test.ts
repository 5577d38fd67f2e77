/** Large values: taken apart and put back as they were, stored before their row, in nobody's way. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { BLOB_CHARS_MIN, detachEntries, detachValue } from '../../server/journal/detach.ts'
import { type Entry, encodeEntries } from '../../server/journal/entry.ts'
import { attachBlobs } from '../../shared/blob-text.ts'
import { copy, encode, encodeCopied, type Value } from '../../shared/value.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'
import { Generator } from '../support/value-generator.ts'

/** Rounds of the property tests; each has a seed of its own, which a failure names. */
const ROUNDS = 15
const LARGE = BLOB_CHARS_MIN * 2
const MEGABYTE = 1024 * 1024

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

/** A random value with large parts somewhere in it. */
function largeValue(generator: Generator, depth = 2): unknown {
  const odd = `${generator.primitive()}{"$blob":"${'0'.repeat(64)}"}\u0000\ud800"\\`
  switch (generator.below(depth === 0 ? 3 : 6)) {
    case 0:
      return odd.repeat(Math.ceil(LARGE / odd.length))
    case 1:
      return new Uint8Array(LARGE)
    case 2:
      return Array.from({ length: 6_000 }, (_, i) => `${odd} ${i}`)
    case 3:
      return new Map([...pairs(generator), [generator.key(), largeValue(generator, depth - 1)]])
    case 4:
      return [generator.value(), largeValue(generator, depth - 1), generator.value(), largeValue(generator, depth - 1)]
    default:
      return {
        ...Object.fromEntries(pairs(generator)),
        [generator.key()]: largeValue(generator, depth - 1),
        $blob: 'x',
      }
  }
}

const pairs = (generator: Generator): [string, unknown][] => [0, 1, 2].map(() => [generator.key(), generator.value(2)])

function putBack(text: string, blobs: readonly { hash: string; value: string }[]): string {
  const texts = new Map(blobs.map(({ hash, value }) => [hash, value]))
  return attachBlobs(text, (hash) => texts.get(hash) ?? expect.fail(`${hash} is not among the blobs`))
}

describe('apart and together', () => {
  test('[V4] a text put together again is the very text that was taken apart, and what stays is small', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const value = copy(largeValue(new Generator(seed)))
      const text = encodeCopied(value)
      const { text: left, blobs } = detachValue(text)
      expect(left.length, `seed ${seed}`).toBeLessThanOrEqual(BLOB_CHARS_MIN)
      expect(blobs.length, `seed ${seed}`).toBeGreaterThan(0)
      expect(putBack(left, blobs) === text, `seed ${seed}: not the same text`).toBe(true)
      const entries: Entry[] = [
        { k: 'init', value },
        { k: 'step', turn: 't', key: 's#1', out: { ok: value }, attempts: 1, at: 1 },
        { ...END, patches: [{ op: 'set', path: ['a', 0], value }] },
      ]
      const payload = encodeEntries(entries)
      const row = detachEntries(payload)
      expect(row.text.length, `seed ${seed}`).toBeLessThan(BLOB_CHARS_MIN * 3)
      expect(putBack(row.text, row.blobs) === payload, `seed ${seed}: not the same row`).toBe(true)
      expect(row.blobs, `seed ${seed}: one value is stored once`).toEqual(blobs)
    }
  })

  test('[V4] only values leave: an entry tells what it is without them', () => {
    const many = Array.from({ length: 3_000 }, (_, i) => ({
      op: 'set' as const,
      path: ['key', i],
      value: 'v'.repeat(20),
    }))
    const entries: Entry[] = [
      { k: 'step', turn: 't', key: 's#1', out: { ok: 'x'.repeat(LARGE) }, attempts: 1, at: 1 },
      { ...END, patches: many },
    ]
    const { text, blobs } = detachEntries(encodeEntries(entries))
    expect(blobs).toHaveLength(1)
    const [step, end] = JSON.parse(text) as [{ k: string; key: string }, { k: string; patches: unknown[] }]
    expect([step.k, step.key, end.k, end.patches.length]).toEqual(['step', 's#1', 'end', 3_000])
  })

  test.each<{ what: string; entry: (value: Value) => Entry }>([
    {
      what: 'the result of a transaction',
      entry: (result) => ({ k: 'checkpoint', turn: 't', key: 'c#0', patches: [], sent: 0, result, at: 1 }),
    },
    { what: 'an error', entry: (value) => ({ ...STEP, out: { err: { ...ERROR, message: `${value}` } } }) },
    { what: 'the cause of an error', entry: (value) => ({ ...RETRY, err: { ...ERROR, cause: causeOf(`${value}`) } }) },
  ])('[V4] $what leaves its row', ({ entry }) => {
    const payload = encodeEntries([entry('x'.repeat(MEGABYTE))])
    const { text, blobs } = detachEntries(payload)
    expect(text.length).toBeLessThan(1_000)
    expect(text.includes('STEP_FAILED')).toBe(payload.includes('STEP_FAILED'))
    expect(putBack(text, blobs)).toBe(payload)
  })

  test('[V4] a large part that stays the same is one blob in every text', () => {
    const state = (n: number) => detachValue(encode({ n, big: 'x'.repeat(LARGE), list: [n] }))
    expect(state(1).blobs).toEqual(state(2).blobs)
    expect(state(1).text).not.toBe(state(2).text)
    expect(detachValue(encode('x'.repeat(100))).blobs).toEqual([])
  })
})

const ERROR = { code: 'STEP_FAILED', message: 'no' } as const
const causeOf = (text: string) => ({ code: 'X', message: text, stack: `${text}\n` })
const STEP = { k: 'step', turn: 't', key: 's#0', attempts: 1, at: 1 } as const
const RETRY = { k: 'retry', turn: 't', key: 's#0', attempt: 1, began: 1, due: 2 } as const
const END = { k: 'end', turn: 't', op: 'o', from: null, how: 'done', sent: 0 } as const

type Book = { pages: string; n: number; seen: string[]; $blob: Value }

const reader = agent('reader', {
  state: (): Book => ({ pages: '', n: 0, seen: [], $blob: { $blob: 'mine' } }),
  on: {
    async fetch(ctx, { name, chars }: { name: string; chars: number }) {
      const text = await ctx.step('fetch', () =>
        `${oracle.hit(`fetch ${name}`)} ${name}`.padEnd(chars, '\u0000\ud800"'),
      )
      await ctx.step('hang', () => (name === 'hang' && oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
      ctx.state.pages = text
      ctx.state.n += 1
      return text.length
    },
    note(ctx, text: string) {
      ctx.state.seen.push(text)
      return ctx.state.seen.length
    },
    all: (ctx, big: string) => {
      ctx.state.pages = big
    },
  },
})

const blobs = (): Map<string, { readonly value: string; touchedAt: number }> => world.db?.blobs ?? expect.fail()
const payloads = (node: TestNode, id: string): number[] =>
  node.faults.committed.filter((row) => row.id === id).map((row) => row.payload.length)

describe('large values of agents', () => {
  test('[V4] a large result and the state made of it are stored once, and come back byte for byte', async () => {
    const node = await world.node('a', [reader])
    await node.call(node.ref(reader, 'k').fetch({ name: 'x', chars: LARGE }))
    expect(blobs().size).toBe(1)
    expect(Math.max(...payloads(node, 'reader/k'))).toBeLessThan(2_000)
    const live = node.core.layer.committed('reader/k')?.value ?? expect.fail()
    expect(encode(await node.stored('reader/k'))).toBe(encode(live))
    // Snapshots come in the background.
    await world.advance(100)
    expect(world.db?.snapshots.size).toBe(1)
    expect(blobs().size).toBe(1)
    node.kill()
    const second = await world.node('b', [reader])
    await world.advance(60_000)
    expect(await second.call(second.ref(reader, 'k').note('after'))).toBe(1)
    const again = second.core.layer.committed('reader/k')?.value as Book
    expect(encode({ ...again, seen: [] })).toBe(encode(live))
  })

  test('[V4] with blobs and without them the reloaded state is the same text', async () => {
    const node = await world.node('a', [reader])
    const chars = [BLOB_CHARS_MIN / 4, BLOB_CHARS_MIN * 4]
    const states: Book[] = []
    for (const n of chars) {
      await node.call(node.ref(reader, `k${n}`).all('\u0000\ud800"{"$blob":"'.repeat(n / 16)))
      states.push((await node.stored(`reader/k${n}`)) as Book)
      const live = node.core.layer.committed(`reader/k${n}`)?.value ?? expect.fail()
      expect(encode(states.at(-1) ?? null)).toBe(encode(live))
    }
    expect(blobs().size).toBe(1)
    const [small, large] = states
    expect(encode({ ...large, pages: '' })).toBe(encode({ ...small, pages: '' }))
  })

  test('[V4] a turn that was killed goes on with its large message and result', async () => {
    const node = await world.node('a', [reader])
    await node.start(node.ref(reader, 'k').fetch({ name: 'hang', chars: LARGE }))
    await world.until(() => oracle.count('hang') === 1)
    node.kill()
    const second = await world.node('b', [reader])
    await world.until(async () => ((await second.stored('reader/k')) as Book | undefined)?.n === 1)
    expect(oracle.count('fetch hang')).toBe(1)
    expect(((await second.stored('reader/k')) as Book).pages).toHaveLength(LARGE)
  })

  test('[V4] a large value holds up its own process and nobody else; the order stays', async () => {
    const node = await world.node('a', [reader])
    for (const key of ['slow', 'quick']) await node.call(node.ref(reader, key).note('first'))
    const stored = gate()
    node.faults.next('writeBlobs', { kind: 'hold', until: stored.promise })
    const answers: string[] = []
    void node
      .ref(reader, 'slow')
      .all('x'.repeat(LARGE))
      .then(() => answers.push('large'))
    void node
      .ref(reader, 'slow')
      .note('behind')
      .then(() => answers.push('behind'))
    // In the batch in which the large value would be.
    expect(await node.call(node.ref(reader, 'quick').note('second'))).toBe(2)
    await world.advance(100)
    expect(answers).toEqual([])
    expect(await node.stored('reader/slow')).toMatchObject({ pages: '', seen: ['first'] })
    stored.open()
    await world.until(() => answers.length === 2)
    expect(answers).toEqual(['large', 'behind'])
  })

  test('[V4] the value is stored before its row; what a crash leaves between is collected, a day later', async () => {
    const node = await world.node('a', [reader])
    await node.call(node.ref(reader, 'k').note('first'))
    node.faults.next('writeBlobs', { kind: 'die', when: 'after' })
    node
      .ref(reader, 'k')
      .all('x'.repeat(LARGE))
      .run()
      .catch(() => {})
    await world.until(() => node.dead)
    const [orphan = expect.fail()] = blobs().values()
    expect((await node.stored('reader/k')) as Book).toMatchObject({ pages: '' })
    const second = await world.node('b', [reader])
    await second.call(second.ref(reader, 'kept').all('y'.repeat(LARGE)))
    await world.advance(31 * 60_000)
    expect(blobs().size).toBe(2)
    for (const blob of blobs().values()) blob.touchedAt -= 25 * 60 * 60_000
    await world.advance(31 * 60_000)
    expect([...blobs().values()]).not.toContain(orphan)
    expect(blobs().size).toBe(1)
    expect(second.core.layer.chores.blobs.collected).toBe(1)
    expect((await second.stored('reader/kept')) as Book).toMatchObject({ pages: 'y'.repeat(LARGE) })
  })

  test('[V4] a row that was held up until its value counts as old is stored with a fresh one', async () => {
    const node = await world.node('a', [reader])
    await node.call(node.ref(reader, 'k').note('first'))
    let held = 0
    node.faults.plan(({ method, batch }) => {
      if (method !== 'commit' || !batch.some((row) => row.blobs !== undefined) || ++held > 1) return undefined
      blobs().clear()
      return { kind: 'fail', failure: 'unavailable' }
    })
    await node.call(node.ref(reader, 'k').all('x'.repeat(LARGE)))
    expect(await node.stored('reader/k')).toMatchObject({ pages: 'x'.repeat(LARGE) })
    expect(node.seen('failure')).toEqual([])
  })

  test('[V4] a store that is away for a while costs a large value nothing', async () => {
    const node = await world.node('a', [reader])
    await node.call(node.ref(reader, 'k').note('first'))
    const back = node.faults.outage()
    const call = node.ref(reader, 'k').all('x'.repeat(LARGE)).run()
    await world.advance(3_000)
    expect(node.seen('store:down')).toHaveLength(1)
    back()
    await world.run(call)
    expect(node.seen('store:up')).toHaveLength(1)
    expect(await node.stored('reader/k')).toMatchObject({ pages: 'x'.repeat(LARGE) })
  })

  test('[V4] a large value the store refuses is charged to its message alone', async () => {
    const node = await world.node('a', [reader])
    node.faults.next('writeBlobs', { kind: 'fail', failure: 'rejected' }, 99)
    const refused = await world.refusal(node.ref(reader, 'k').all('x'.repeat(LARGE)))
    expect(refused.code).toBe('DEAD_LETTERED')
    expect(await node.call(node.ref(reader, 'k').note('after'))).toBe(1)
  })

  test('[V4] a value that is gone is an error that names process, row and hash; neighbours run', async () => {
    const node = await world.node('a', [reader])
    for (const key of ['lost', 'fine']) await node.call(node.ref(reader, key).note('first'))
    await node.call(node.ref(reader, 'lost').all('x'.repeat(LARGE)))
    await node.stop()
    const [hash = ''] = blobs().keys()
    blobs().clear()
    const second = await world.node('b', [reader])
    const [lost, fine] = await Promise.all([
      world.refusal(second.ref(reader, 'lost').note('x')),
      second.call(second.ref(reader, 'fine').note('x')),
    ])
    expect(fine).toBe(2)
    expect(JSON.stringify(second.events)).toContain(`reader/lost refers to the large value ${hash}`)
    expect(lost.code).not.toBe('INTERNAL')
    await expect(second.stored('reader/lost')).rejects.toMatchObject({ code: 'BLOB_MISSING', detail: { hash } })
  })
})
