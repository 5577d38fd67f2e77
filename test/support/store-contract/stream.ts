/** D40 to D44: streams, the same on every store. */
import { describe, expect, test } from 'vitest'
import type { NodeIdentity } from '../../../server/store/store.ts'
import type { NewRecord, NewStream, StreamAppend, StreamRow, StreamWrite } from '../../../server/store/stream.ts'
import { type Owned, StoreBench, type StoreWorld } from '../store-world.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const record = (text: string, parts: Partial<NewRecord> = {}): NewRecord => ({
  data: encoder.encode(text),
  reset: false,
  turn: 't',
  step: null,
  attempt: 1,
  ...parts,
})

const opening = ({ record: { pid }, claim }: Owned, path: string, turn: string | null = null) => ({
  process: pid,
  claim,
  path,
  contentType: 'application/json',
  turn,
})

const plain = (path: string, parts: Partial<NewStream> & { body?: string[] } = {}): NewStream => ({
  path,
  contentType: 'text/plain',
  ttlS: null,
  expiresAt: null,
  closed: false,
  cut: () => (parts.body ?? []).map((text) => encoder.encode(text)),
  fork: null,
  ...parts,
})

const writing = (path: string, text: string, parts: Partial<StreamWrite> = {}): StreamWrite => ({
  path,
  contentType: 'text/plain',
  cut: () => [encoder.encode(text)],
  empty: text === '',
  close: false,
  seq: null,
  producer: null,
  ...parts,
})

export function streamContract(world: StoreWorld): void {
  async function opened(bench: StoreBench, node: NodeIdentity, owned: Owned, path = 'processes/cart/a/s') {
    const outcome = await bench.store.openStream(node, opening(owned, path))
    return outcome.kind === 'open' ? outcome.row : expect.fail(`The stream is ${outcome.kind}.`)
  }
  const append = ({ id }: StreamRow, { claim }: Owned, expected: number, ...records: NewRecord[]): StreamAppend => {
    return { stream: id, claim, expected, records, close: false }
  }
  const texts = async (bench: StoreBench, stream: number, from = 0) =>
    (await bench.store.streamRecords(stream, from)).map(({ data }) => decoder.decode(data))
  const rowOf = async (bench: StoreBench, path: string) =>
    (await bench.store.streamRow(bench.namespace, path)) ?? expect.fail(`There is no stream ${path}.`)

  describe(`streams on ${world.name}`, () => {
    test('[D41] records come back byte for byte in order, with positions that never have a gap', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const row = await opened(bench, node, owned)
      const odd = { ...record(''), data: new Uint8Array([0, 255, 30, 29, 10]) }
      const first = [record('a'), odd, record('4', { reset: true, step: 's#0', attempt: 2 })]
      expect(await bench.store.appendStreams(node, [append(row, owned, 0, ...first)])).toEqual([{ kind: 'appended' }])
      expect(await bench.store.appendStreams(node, [append(row, owned, 3, record('b'))])).toEqual([
        { kind: 'appended' },
      ])
      const records = await bench.store.streamRecords(row.id, 0)
      expect(records.map(({ pos, reset, turn, step, attempt }) => [pos, reset, turn, step, attempt])).toEqual([
        [0, false, 't', null, 1],
        [1, false, 't', null, 1],
        [2, true, 't', 's#0', 2],
        [3, false, 't', null, 1],
      ])
      expect([...(records[1]?.data ?? [])]).toEqual([0, 255, 30, 29, 10])
      expect(await texts(bench, row.id, 3)).toEqual(['b'])
      expect(await rowOf(bench, row.path)).toMatchObject({ tail: 4, floor: 0, bytes: 8, closed: false })
    })

    test('[D42] an old claim, a dead epoch, another tail and a closed stream write nothing', async () => {
      const bench = new StoreBench(world)
      const [node, dead] = [await bench.node(), await bench.node()]
      const owned = await bench.own(dead, 'a')
      const row = await opened(bench, dead, owned)
      await bench.store.appendStreams(dead, [append(row, owned, 0, record('a'))])
      expect(await bench.store.appendStreams(dead, [append(row, owned, 0, record('x'))])).toEqual([
        { kind: 'refused', row: { claim: owned.claim, tail: 1, closed: false } },
      ])
      await bench.store.buryNode(node, dead, 'host')
      expect(await bench.store.appendStreams(dead, [append(row, owned, 1, record('x'))])).toMatchObject([
        { kind: 'refused' },
      ])
      const heir = await bench.own(node, 'a')
      expect(await bench.store.appendStreams(node, [append(row, owned, 1, record('x'))])).toMatchObject([
        { kind: 'refused' },
      ])
      expect(await bench.store.openStream(node, opening(owned, row.path))).toEqual({ kind: 'refused' })
      await opened(bench, node, heir)
      const batch = [append(row, owned, 1, record('x')), { ...append(row, heir, 1, record('b')), close: true }]
      for (const one of batch) await bench.store.appendStreams(node, [one])
      expect(await bench.store.appendStreams(node, [append(row, heir, 2, record('x'))])).toEqual([
        { kind: 'refused', row: { claim: heir.claim, tail: 2, closed: true } },
      ])
      expect(await texts(bench, row.id)).toEqual(['a', 'b'])
    })

    test('[D42] one refused stream of a batch harms no neighbour', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [a, b] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
      const rows = [await opened(bench, node, a), await opened(bench, node, b, 'processes/cart/b/s')] as const
      const batch = [append(rows[0], a, 7, record('x')), append(rows[1], b, 0, record('b'))]
      const outcomes = await bench.store.appendStreams(node, batch)
      expect(outcomes.map(({ kind }) => kind)).toEqual(['refused', 'appended'])
      expect([await texts(bench, rows[0].id), await texts(bench, rows[1].id)]).toEqual([[], ['b']])
    })

    test('[D42] a replayed turn is told what it wrote, and nothing of other turns', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const row = await opened(bench, node, owned)
      const records = [record('a'), record('b', { turn: 'u' }), record('0', { reset: true, step: 's', attempt: 2 })]
      await bench.store.appendStreams(node, [append(row, owned, 0, ...records)])
      const again = await bench.store.openStream(node, opening(owned, row.path, 't'))
      expect(again).toMatchObject({
        kind: 'open',
        row: { id: row.id, tail: 3 },
        written: [
          { pos: 0, reset: false, step: null, attempt: 1, hash: '0cc175b9c0f1b6a831c399e269772661', to: null },
          { pos: 2, reset: true, step: 's', attempt: 2, to: 0 },
        ],
      })
    })

    test('[D43] a stream is created once, and only the same configuration finds it again', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const { store } = bench
      const [one, two] = await Promise.all([store.createStream(node, plain('x')), store.createStream(node, plain('x'))])
      expect([one.kind, two.kind].sort()).toEqual(['created', 'exists'])
      expect((await store.createStream(node, plain('x'))).kind).toBe('exists')
      expect((await store.createStream(node, plain('x', { contentType: 'a/b' }))).kind).toBe('conflict')
      expect((await store.createStream(node, plain('x', { closed: true }))).kind).toBe('conflict')
      expect(await store.deleteStream(node, 'x')).toBe('deleted')
      expect(await store.deleteStream(node, 'x')).toBe('absent')
      expect(await store.streamRow(bench.namespace, 'x')).toBeNull()
    })

    test('[D43] writes of rivals take turns: each position is given once', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const { store } = bench
      await store.createStream(node, plain('x', { body: ['0'] }))
      const all = Array.from({ length: 12 }, (_, i) => store.writeStream(node, writing('x', String(i + 1))))
      for (const verdict of await Promise.all(all)) expect(verdict.kind).toBe('written')
      const { id, tail } = await rowOf(bench, 'x')
      expect([tail, (await texts(bench, id)).sort((a, b) => Number(a) - Number(b)).join()]).toEqual([
        13,
        '0,1,2,3,4,5,6,7,8,9,10,11,12',
      ])
    })

    test('[D43] a producer is heard once per number, in its order, and never after a later epoch', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const { store } = bench
      await store.createStream(node, plain('x'))
      const write = (epoch: number, seq: number, parts: Partial<StreamWrite> = {}) =>
        store.writeStream(node, writing('x', `${epoch}.${seq}`, { producer: { id: 'p', epoch, seq }, ...parts }))
      expect(await write(0, 1)).toEqual({ kind: 'gap', expected: 0 })
      expect((await write(0, 0)).kind).toBe('written')
      expect(await write(0, 0)).toMatchObject({ kind: 'duplicate', seq: 0 })
      expect(await write(0, 2)).toEqual({ kind: 'gap', expected: 1 })
      expect(await write(1, 1)).toEqual({ kind: 'unborn' })
      expect((await write(1, 0)).kind).toBe('written')
      expect(await write(0, 1)).toEqual({ kind: 'stale', epoch: 1 })
      expect((await write(1, 1, { close: true })).kind).toBe('written')
      expect((await write(1, 1, { close: true })).kind).toBe('duplicate')
      expect((await write(1, 2)).kind).toBe('closed')
      expect(await write(0, 9)).toEqual({ kind: 'stale', epoch: 1 })
      const { id } = await rowOf(bench, 'x')
      expect(await texts(bench, id)).toEqual(['0.0', '1.0', '1.1'])
    })

    test('[D43] writer sequences rise bytewise, and another content type is refused', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const { store } = bench
      await store.createStream(node, plain('x'))
      const kind = async (seq: string, contentType = 'text/plain') =>
        (await store.writeStream(node, writing('x', seq, { seq, contentType }))).kind
      expect([await kind('2'), await kind('10'), await kind('2'), await kind('a'), await kind('B')]).toEqual([
        'written',
        'regressed',
        'regressed',
        'written',
        'regressed',
      ])
      expect(await kind('z', 'a/b')).toBe('type')
    })

    test('[D43] a fork keeps what it inherited when its source ends, whose name stays taken as long', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const { store } = bench
      await store.createStream(node, plain('src', { body: ['one', 'two', 'three'] }))
      const fork = (path: string, at: number | null, sub: number, from = 'src') =>
        store.createStream(node, plain(path, { contentType: null, body: ['own'], fork: { from, at, sub } }))
      expect((await fork('f', 1, 2)).kind).toBe('created')
      expect((await fork('f', 1, 2)).kind).toBe('exists')
      expect((await fork('f', 1, 1)).kind).toBe('conflict')
      expect((await fork('g', 4, 0)).kind).toBe('beyond')
      expect((await fork('g', 1, 4)).kind).toBe('beyond')
      expect((await fork('g', 0, 0, 'none')).kind).toBe('absent')
      expect(await store.deleteStream(node, 'src')).toBe('deleted')
      expect(await store.deleteStream(node, 'src')).toBe('gone')
      expect((await store.createStream(node, plain('src'))).kind).toBe('conflict')
      expect((await fork('h', 0, 0)).kind).toBe('conflict')
      const { id, tail } = await rowOf(bench, 'f')
      expect([await texts(bench, id), tail]).toEqual([['one', 'tw', 'own'], 3])
      expect(await store.deleteStream(node, 'f')).toBe('deleted')
      expect(await store.streamRow(bench.namespace, 'src')).toBeNull()
    })

    test('[D44] old and surplus records go from the front, and the floor says from where there are any', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const row = await opened(bench, node, owned)
      const five = ['aa', 'bb', 'cc', 'dd', 'ee'].map((text) => record(text))
      await bench.store.appendStreams(node, [{ ...append(row, owned, 0, ...five), close: true }])
      const prune = (maxAgeMs: number | null, maxBytes: number | null, records = 100) => {
        const policies = [{ agent: 'cart', maxAgeMs, maxBytes }]
        return bench.store.pruneStreams(node, { policies, after: row.id - 1, limit: 10, records })
      }
      expect(await prune(null, null)).toMatchObject({ records: 0, streams: 0 })
      expect(await prune(3_600_000, null)).toMatchObject({ records: 0, streams: 0 })
      expect(await prune(null, 7)).toMatchObject({ records: 2, streams: 0 })
      expect(await rowOf(bench, row.path)).toMatchObject({ floor: 2, tail: 5, bytes: 6 })
      expect(await prune(null, 0, 1)).toMatchObject({ records: 1 })
      expect(await texts(bench, row.id)).toEqual(['dd', 'ee'])
      expect(await prune(-60_000, null)).toMatchObject({ records: 2, streams: 1 })
      expect(await bench.store.streamRow(bench.namespace, row.path)).toBeNull()
    })

    test('[D44] pruning stays in its namespace', async () => {
      const [bench, other] = [new StoreBench(world), new StoreBench(world)]
      const [node, stranger] = [await bench.node(), await other.node()]
      const owned = await bench.own(node, 'a')
      const row = await opened(bench, node, owned)
      await bench.store.appendStreams(node, [append(row, owned, 0, record('a'))])
      await bench.store.createStream(node, plain('x', { expiresAt: 1_000, body: ['old'] }))
      const step = { policies: [{ agent: 'cart', maxAgeMs: -60_000, maxBytes: null }], after: row.id - 1 }
      const nothing = await other.store.pruneStreams(stranger, { ...step, limit: 10, records: 10 })
      expect(nothing).toMatchObject({ records: 0, streams: 0 })
      const taken = await bench.store.pruneStreams(node, { ...step, limit: 10, records: 10 })
      expect(taken).toMatchObject({ records: 1, streams: 1 })
    })

    test('[D44] a stream whose time is over is not there, and its name is free again', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const { store } = bench
      await store.createStream(node, plain('x', { expiresAt: 1_000, body: ['old'] }))
      expect(await store.streamRow(bench.namespace, 'x')).toBeNull()
      expect((await store.writeStream(node, writing('x', 'late'))).kind).toBe('absent')
      await store.createStream(node, plain('x', { expiresAt: 1_000 }))
      await store.createStream(node, plain('y', { ttlS: 3_600 }))
      const taken = await store.pruneStreams(node, { policies: [], after: 0, limit: 1_000, records: 1 })
      expect(taken.streams).toBe(1)
      expect((await store.createStream(node, plain('x'))).kind).toBe('created')
      expect((await rowOf(bench, 'y')).ttlS).toBe(3_600)
    })
  })
}
