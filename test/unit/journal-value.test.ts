/** State as values: what a turn changed is what is stored, byte for byte, and nothing else ever changes. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { decodeEntries } from '../../server/journal/entry.ts'
import { applyPatches, draftOf, encodePatches, type Patch } from '../../server/journal/patch.ts'
import { copy, decode, encode, encodeCopied, type Value } from '../../shared/value.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { Generator } from '../support/value-generator.ts'

/** Rounds of the property tests; each has a seed of its own, which a failure names. */
const ROUNDS = 60
const TURNS = 8
/** Characters of a state at which its round ends: moved subtrees double it each time. */
const LARGE = 2_000

describe('patches', () => {
  test('[T6] live state equals reloaded state byte for byte, whatever changed', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const generator = new Generator(seed)
      let live = copy({ root: generator.value(), list: [generator.value()], map: new Map([['m', generator.value()]]) })
      let stored: Value = decode(encode(live))
      for (let turn = 0; turn < TURNS; turn++) {
        const before = encodeCopied(live)
        if (before.length > LARGE) break
        const draft = draftOf(live)
        for (let i = generator.below(6); i >= 0; i--) generator.mutate(draft.value)
        const expected = encode(snapshotOf(draft.value))
        const patches = draft.finish()
        expect(encodeCopied(live), `seed ${seed} turn ${turn}: the base changed`).toBe(before)
        live = applyPatches(live, patches)
        stored = applyPatches(stored, decode(encodePatches(patches)) as unknown as Patch[])
        expect(encodeCopied(stored), `seed ${seed} turn ${turn}: reloaded differs`).toBe(encodeCopied(live))
        expect(canonical(encodeCopied(live)), `seed ${seed} turn ${turn}: a change was lost`).toBe(canonical(expected))
      }
    }
  })

  test('[T6] patches larger than what they change are stored as that subtree', () => {
    const base = copy({ queue: Array.from({ length: 1_000 }, (_, i) => `item ${i}`), other: 'x'.repeat(1_000) })
    const draft = draftOf(base)
    ;(draft.value as { queue: string[] }).queue.shift()
    const patches = draft.finish()
    expect(patches).toHaveLength(1)
    expect(encodePatches(patches).length).toBeLessThan(encode((base as { queue: string[] }).queue).length + 100)
    expect((applyPatches(base, patches) as { queue: string[] }).queue.length).toBe(999)
  })

  test('[T6] no patch reaches a prototype', () => {
    const base = copy({ a: { b: 1 }, list: [1], map: new Map([['k', {}]]) })
    const evil: Patch[][] = [
      [{ op: 'set', path: ['__proto__', 'polluted'], value: 1 }],
      [{ op: 'set', path: ['a', '__proto__', 'polluted'], value: 1 }],
      [{ op: 'set', path: ['a', 'constructor', 'prototype', 'polluted'], value: 1 }],
      [{ op: 'set', path: ['list', '__proto__', 'polluted'], value: 1 }],
      [{ op: 'set', path: ['list', 'constructor', 'polluted'], value: 1 }],
      [{ op: 'set', path: ['map', '__proto__', 'polluted'], value: 1 }],
      [{ op: 'delete', path: ['a', '__proto__', 'toString'] }],
      [{ op: 'set', path: ['__proto__'], value: { polluted: 1 } }],
    ]
    for (const patches of evil) {
      expect(() => applyPatches(base, patches), JSON.stringify(patches)).toThrow(/leads nowhere/)
    }
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    const draft = draftOf(base)
    const smuggled = JSON.parse('{"x":{"__proto__":{"polluted":1}}}') as object
    ;(draft.value as { a: unknown }).a = smuggled
    expect(() => draft.finish()).toThrow(/\$\.a\.x/)
  })

  test('[T6] what cannot be stored is refused with its path', () => {
    const bad: unknown[] = [
      () => 1,
      Symbol('x'),
      1n,
      Number.NaN,
      undefined,
      new Map([[1, 2]]),
      new Error('x'),
      new Array(2),
    ]
    for (const value of bad) {
      const draft = draftOf(copy({ a: { list: [0] } }))
      ;(draft.value as { a: { list: unknown[] } }).a.list[0] = { deep: value }
      expect(() => draft.finish()).toThrow(/\$\.a\.list\[0\]\.deep/)
    }
  })
})

describe('in place', () => {
  let world: World
  beforeEach(() => {
    world = World.memory()
  })
  afterEach(() => world.close())

  const held = agent('held', {
    state: () => ({ at: new Date(0), bytes: new Uint8Array([1, 2]), map: new Map([['b', new Uint8Array([3])]]), n: 0 }),
    on: {
      date: (ctx) => void ctx.state.at.setTime(5),
      bytes(ctx) {
        ctx.state.n += 1
        ctx.state.bytes[0] = 9
      },
      nested(ctx) {
        const bytes = ctx.state.map.get('b')
        if (bytes !== undefined) bytes[0] = 9
      },
      message(ctx, message: { bytes: Uint8Array; tries: number }) {
        const first = message.bytes[0]
        message.bytes[0] = 99
        if (ctx.message.attempt === 1) throw new Error('again')
        return first
      },
      async step(ctx) {
        const bytes = await ctx.step('bytes', () => new Uint8Array([7]))
        bytes[0] = 8
        await ctx.step('wait', () => null)
      },
      whole(ctx) {
        ctx.state.bytes = new Uint8Array([5])
        ctx.state.at = new Date(7)
      },
    },
    queries: {
      first: (state) => {
        const first = state.bytes[0]
        state.bytes[0] = 77
        return first ?? null
      },
    },
  })
  const fresh = '{"at":{"$date":0},"bytes":{"$bytes":"AQI="},"map":{"$map":[["b",{"$bytes":"Aw=="}]]},"n":0}'
  const live = (node: TestNode): string => encode(node.core.layer.committed('held/k')?.value)

  test('[T6] changing a Date of the state in place is refused', async () => {
    const node = await world.node('a', [held])
    expect((await world.refusal(node.ref(held, 'k').date())).message).toContain('VALUE_MUTATED')
    expect(live(node)).toBe(fresh)
  })

  test('[T6] changing bytes of the state in place is found when the turn ends, and reaches nothing', async () => {
    const node = await world.node('a', [held])
    expect((await world.refusal(node.ref(held, 'k').bytes())).message).toContain('$.bytes')
    expect((await world.refusal(node.ref(held, 'k').nested())).message).toContain('$.map.b')
    expect(await node.call(node.ref(held, 'k').first())).toBe(1)
    expect(await node.call(node.ref(held, 'k').first())).toBe(1)
    expect(live(node)).toBe(fresh)
  })

  test('[T6] bytes replaced whole are stored', async () => {
    const node = await world.node('a', [held])
    await node.call(node.ref(held, 'k').whole())
    expect(live(node)).toContain('"bytes":{"$bytes":"BQ=="}')
    expect(encode(await node.stored('held/k'))).toBe(live(node))
  })

  test('[T6] bytes of messages and results are copies: what a turn does to them is in no journal', async () => {
    const node = await world.node('a', [held])
    expect(await node.call(node.ref(held, 'k').message({ bytes: new Uint8Array([4]), tries: 0 }))).toBe(4)
    await node.call(node.ref(held, 'k').step())
    const entries = node.faults.committed.flatMap((row) => decodeEntries(row.payload))
    const step = entries.find((entry) => entry.k === 'step' && entry.key === 'bytes#0')
    expect(step?.k === 'step' && 'ok' in step.out ? step.out.ok : null).toEqual(new Uint8Array([7]))
  })
})

/** The draft as plain data of its own, before it is finished. */
function snapshotOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(snapshotOf)
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, snapshotOf(item)]))
  if (value instanceof Set) return new Set(value)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, snapshotOf(item)]))
}

/** Order of keys is the store's own matter; what is compared is the content. */
function canonical(text: string): string {
  return JSON.stringify(JSON.parse(text), (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
      const isMap = key === '$map' && Array.isArray(item)
      return [key, isMap ? item.toSorted((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)) : item]
    })
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}
