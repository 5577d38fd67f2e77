/** Store contract, part five: links, monitors and names, and what the end of an incarnation makes of them. */
import { describe, expect, test } from 'vitest'
import type { Commit, NodeIdentity } from '../../../server/store/store.ts'
import { message, type Owned, row, StoreBench, type StoreWorld } from '../store-world.ts'

const CRASH = '{"kind":"crash","error":{"code":"E","message":"boom \\"x\\""}}'

export function tieContract(world: StoreWorld): void {
  describe(`ties on ${world.name}`, () => {
    test('[D19] the commit that stores an end tells each monitor and link once, and cuts them', async () => {
      const { bench, node, a, b, c } = await setUp(world)
      await bench.write(node, a, { links: [monitor('b', 'm1'), monitor('b', 'm2'), monitor('c', 'm3'), link('b')] })
      await bench.write(node, c, { links: [link('b'), monitor('a', 'm4')] })
      const sent = { messages: [message('last', 'cart/a')] }
      const told = await end(bench, node, b, sent)
      expect(told.toSorted()).toEqual(['cart/a', 'cart/c'])
      const bodies = await signals(bench, 'cart/a')
      const who = { incarnation: 1, reason: JSON.parse(CRASH), to: 1 }
      expect(bodies).toEqual([
        ['send', 'last', null],
        ['exit', 'cart/b', { from: 'cart/b', ...who }],
        ['down', 'cart/b', { ref: 'm1', process: 'cart/b', ...who }],
        ['down', 'cart/b', { ref: 'm2', process: 'cart/b', ...who }],
      ])
      expect((await signals(bench, 'cart/c')).map(([kind]) => kind)).toEqual(['exit'])
      expect((await bench.load(node, a)).links.map((tie) => `${tie.kind} ${tie.peer}`)).toEqual([
        'monitor cart/c',
        'monitored cart/c',
      ])
      expect(await bench.store.sweepTies(node, ['cart/a', 'cart/b', 'cart/c'])).toEqual([])
      // The end of a watcher drops its monitors without a word; who watched it hears.
      expect(await end(bench, node, a, {})).toEqual(['cart/c'])
      expect((await bench.load(node, c)).links).toEqual([])
      expect((await signals(bench, 'cart/c')).map(([kind]) => kind)).toEqual(['exit', 'down'])
    })

    test('[P9] a child is told by the last end of its parent only, whichever life it is in by then', async () => {
      const { bench, node, a, b, c } = await setUp(world)
      await bench.write(node, a, { links: [child('b'), child('c'), child('b')] })
      for (const owned of [a, b, c]) expect((await bench.load(node, owned)).links).toEqual([])
      expect(await end(bench, node, a, {})).toEqual([])
      expect(await end(bench, node, b, { patch: { incarnation: 2 } })).toEqual([])
      // Its last end takes the tie of a child along, and its parent hears nothing.
      expect(await end(bench, node, c, { ends: [lastEnd(1)] })).toEqual([])
      expect(await bench.store.sweepTies(node, ['cart/a', 'cart/b', 'cart/c'])).toEqual([])
      expect(await end(bench, node, a, { patch: { incarnation: 3, gone: true }, ends: [lastEnd(2)] })).toEqual([
        'cart/b',
      ])
      const body = { from: 'cart/a', incarnation: 2, reason: { kind: 'shutdown', detail: null }, to: 0 }
      expect(await signals(bench, 'cart/b')).toEqual([['exit', 'cart/a', body]])
      for (const key of ['cart/a', 'cart/c']) expect(await bench.mailbox(key)).toEqual([])
      expect(await end(bench, node, a, { patch: { incarnation: 4, gone: true }, ends: [lastEnd(3)] })).toEqual([])
    })

    test('[P9] parent and child that end for good in one batch tell nobody', async () => {
      const { bench, node, a, b } = await setUp(world)
      await bench.write(node, a, { links: [child('b')] })
      const parts = { ends: [lastEnd(1)] }
      expect(await bench.commit(node, row(a, ending(parts)), row(b, ending(parts)))).toMatchObject([{ told: [] }, {}])
      expect([await bench.mailbox('cart/a'), await bench.mailbox('cart/b')]).toEqual([[], []])
    })

    test('[D19] a refused end tells nobody', async () => {
      const { bench, node, a, b } = await setUp(world)
      await bench.write(node, a, { links: [monitor('b', 'm1')], names: [{ kind: 'register', name: 'n' }] })
      const stale = { ...row(b, ending()), seq: b.seq + 5 }
      expect(await bench.commit(node, stale)).toEqual([{ kind: 'refused' }])
      expect(await bench.mailbox('cart/a')).toEqual([])
      expect((await bench.load(node, a)).links).toHaveLength(1)
    })

    test('[D19] two linked ends in one batch tell nobody, their common watcher hears of both', async () => {
      const { bench, node, a, b, c } = await setUp(world)
      await bench.write(node, a, { links: [link('b')] })
      await bench.write(node, c, { links: [monitor('a', 'ma'), monitor('b', 'mb')] })
      const outcomes = await bench.commit(node, row(a, ending()), row(b, ending()))
      expect(outcomes).toMatchObject([{ told: ['cart/c'] }, { told: ['cart/c'] }])
      expect([await bench.mailbox('cart/a'), await bench.mailbox('cart/b')]).toEqual([[], []])
      expect(await bench.mailbox('cart/c')).toHaveLength(2)
    })

    test('[D19] an ephemeral end has no row to be told by', async () => {
      const { bench, node, a } = await setUp(world)
      const away = [
        { ...link('a/away'), ephemeral: true },
        { ...monitor('away', 'm'), ephemeral: true },
      ]
      await bench.write(node, a, { links: away })
      expect((await bench.load(node, a)).links.map((tie) => tie.ephemeral)).toEqual([true, true])
      expect(await bench.store.sweepTies(node, ['cart/a'])).toEqual([])
      expect(await end(bench, node, a, {})).toEqual([])
      expect(await bench.mailbox('cart/away')).toEqual([])
    })

    test('[D20] a tie to what does not exist or has ended is found once and hears noproc', async () => {
      const { bench, node, a, b } = await setUp(world)
      await end(bench, node, b, {})
      await bench.write(node, a, { links: [monitor('nobody', 'm1'), monitor('b', 'm2'), link('b')] })
      expect(await bench.store.sweepTies(node, ['cart/b', 'cart/a'])).toEqual(['cart/a'])
      const bodies = (await signals(bench, 'cart/a')).map(([kind, from, body]) => [kind, from, body?.['reason']])
      expect(bodies.toSorted()).toEqual([
        ['down', 'cart/b', { kind: 'noproc' }],
        ['down', 'cart/nobody', { kind: 'noproc' }],
        ['exit', 'cart/b', { kind: 'noproc' }],
      ])
      expect(await bench.store.sweepTies(node, ['cart/a', 'cart/b'])).toEqual([])
      expect((await bench.load(node, a)).links).toEqual([])
    })

    test('[D20] a link that finds an older one of the same two in its place holds', async () => {
      const { bench, node, a } = await setUp(world)
      await bench.write(node, a, { links: [link('d'), link('e')] })
      // Before anybody found that there was nobody, they are there, and two of one batch make one link.
      const [d, e] = [await bench.own(node, 'd'), await bench.own(node, 'e')]
      await bench.commit(node, row(d, { links: [link('a'), link('e')] }), row(e, { links: [link('d'), link('a')] }))
      expect(await bench.store.sweepTies(node, ['cart/a', 'cart/d', 'cart/e'])).toEqual([])
      const linked = (await bench.load(node, e)).links.map(({ peer }) => peer)
      expect(linked.toSorted()).toEqual(['cart/a', 'cart/d'])
      d.seq += 1
      expect((await end(bench, node, d, {})).toSorted()).toEqual(['cart/a', 'cart/e'])
      expect((await bench.load(node, a)).links.map(({ peer }) => peer)).toEqual(['cart/e'])
    })

    test('[D20] an end in the batch of the tie it misses is found afterwards', async () => {
      const { bench, node, a, b } = await setUp(world)
      const outcomes = await bench.commit(node, row(a, { links: [monitor('b', 'm')] }), row(b, ending()))
      expect(outcomes.map((outcome) => outcome.kind)).toEqual(['committed', 'committed'])
      const swept = await bench.store.sweepTies(node, ['cart/b'])
      const found = (await signals(bench, 'cart/a')).length
      expect([swept.length, found].filter((n) => n > 1)).toEqual([])
      expect(found).toBe(1)
    })

    test('[D20] what lives, is passive, restarts or is spawned by the same commit is no missed end', async () => {
      const { bench, node, a, b } = await setUp(world)
      const child = { id: 'cart/child', agent: 'cart', key: 'child', kind: 'agent', parent: 'cart/a' } as const
      await bench.store.release(node, [{ process: b.record.pid, claim: b.claim }])
      await bench.write(node, a, { links: [monitor('b', 'm1'), monitor('child', 'm2')], spawns: [child] })
      expect(await bench.store.sweepTies(node, ['cart/a'])).toEqual([])
      const again = await bench.own(node, 'b')
      expect(await bench.store.sweepTies(node, ['cart/a', 'cart/b', 'cart/child'])).toEqual([])
      await end(bench, node, again, { patch: { incarnation: 2, gone: false } })
      await bench.write(node, a, { links: [monitor('b', 'm3')] })
      expect(await bench.store.sweepTies(node, ['cart/a'])).toEqual([])
      expect((await signals(bench, 'cart/a')).map(([, , body]) => body?.['ref'])).toEqual(['m1'])
    })

    test('[D20] a node whose epoch is over sweeps nothing', async () => {
      const { bench, node, a } = await setUp(world)
      await bench.write(node, a, { links: [monitor('nobody', 'm')] })
      await bench.store.leave(node)
      expect(await bench.store.sweepTies(node, ['cart/a'])).toEqual([])
      expect(await bench.mailbox('cart/a')).toEqual([])
    })

    test('[D13] an end frees the names of its process, and whoever asks finds the holder', async () => {
      const { bench, node, a, b } = await setUp(world)
      await bench.write(node, a, { names: [{ kind: 'register', name: 'main' }] })
      expect(await bench.store.whereis(bench.namespace, 'main')).toBe('cart/a')
      expect(await bench.store.whereis('elsewhere', 'main')).toBeNull()
      await end(bench, node, a, {})
      expect(await bench.store.whereis(bench.namespace, 'main')).toBeNull()
      await bench.write(node, b, { names: [{ kind: 'register', name: 'main' }] })
      expect(await bench.store.whereis(bench.namespace, 'main')).toBe('cart/b')
    })

    test('[E3] the branch of a process is that of the last commit that gave one, for every later owner', async () => {
      const { bench, node, a } = await setUp(world)
      expect(a.record.branch).toBe(0)
      await bench.write(node, a, { patch: { branch: 3_000_000_000 } })
      await bench.write(node, a, { patch: { trapExit: true } })
      await bench.store.release(node, [{ process: a.record.pid, claim: a.claim }])
      expect((await bench.own(node, 'a')).record).toMatchObject({ branch: 3_000_000_000, trapExit: true })
    })

    test('[P3] a claim begins a life: trap_exit is kept, the mark of the ended one is not', async () => {
      const { bench, node, a } = await setUp(world)
      await bench.write(node, a, { patch: { trapExit: true, gone: true } })
      await bench.store.release(node, [{ process: a.record.pid, claim: a.claim }])
      expect(await bench.record('cart/a')).toMatchObject({ trapExit: true, gone: true })
      expect((await bench.own(node, 'a')).record).toMatchObject({ trapExit: true, gone: false })
    })
  })
}

const monitor = (key: string, ref: string) => ({ kind: 'monitor', peer: `cart/${key}`, ref }) as const
const child = (key: string) => ({ kind: 'child', peer: `cart/${key}` }) as const
const lastEnd = (incarnation: number) => ({ incarnation, reason: CRASH, last: true })
const link = (key: string) => ({ kind: 'link', peer: `cart/${key}` }) as const

function ending(parts: Partial<Commit> = {}): Partial<Commit> {
  return { patch: { incarnation: 2, gone: true }, ends: [{ incarnation: 1, reason: CRASH }], ...parts }
}

async function end(bench: StoreBench, node: NodeIdentity, owned: Owned, parts: Partial<Commit>): Promise<string[]> {
  const [outcome] = await bench.commit(node, row(owned, ending(parts)))
  if (outcome?.kind !== 'committed' || outcome.told === undefined) expect.fail('The end was not stored.')
  owned.seq += 1
  return [...outcome.told]
}

/** Kind, sender or id, and body of each row. */
async function signals(bench: StoreBench, target: string) {
  const rows = await bench.store.messages(bench.namespace, target, 0, 100)
  return rows.map(({ kind, id, sender, args }): [string, string | null, Record<string, unknown> | null] => {
    const isSignal = kind === 'down' || kind === 'exit'
    return [kind, isSignal ? sender : id, isSignal ? (JSON.parse(args) as Record<string, unknown>) : null]
  })
}

async function setUp(world: StoreWorld) {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const [a, b, c] = [await bench.own(node, 'a'), await bench.own(node, 'b'), await bench.own(node, 'c')]
  return { bench, node, a, b, c }
}
