/** Store contract, part two: who owns a process, what it loads, and what a former owner can still do (nothing). */
import { describe, expect, test } from 'vitest'
import { claimRequest, kinds, message, row, StoreBench, type StoreWorld } from '../store-world.ts'

export function claimContract(world: StoreWorld): void {
  describe(`claims on ${world.name}`, () => {
    test('[D4] a process of a live owner cannot be claimed, by another node or by the same', async () => {
      const bench = new StoreBench(world)
      const [node, rival] = [await bench.node(), await bench.node()]
      const owned = await bench.own(node, 'a')
      for (const claimer of [node, rival]) {
        const outcome = await bench.claim(claimer, 'a')
        expect(outcome).toMatchObject({ kind: 'owned', record: { owner: node.id, ownerEpoch: node.epoch } })
      }
      await bench.write(node, owned)
    })

    test('[D4] a lease that ran out alone lets nobody claim; a buried owner does', async () => {
      const bench = new StoreBench(world)
      const [node, taker] = [await bench.node({ leaseMs: -1_000 }), await bench.node()]
      const owned = await bench.own(node, 'a')
      await bench.write(node, owned)
      expect((await bench.claim(taker, 'a')).kind).toBe('owned')
      expect(await bench.store.buryNode(taker, node, 'lease')).toBe(true)
      const taken = await bench.claim(taker, 'a')
      expect(taken).toMatchObject({
        kind: 'claimed',
        seq: 1,
        recovered: true,
        record: { owner: taker.id, incarnation: 1 },
      })
      if (taken.kind !== 'claimed') expect.fail()
      expect(taken.claim).not.toBe(owned.claim)
      expect(kinds(await bench.commit(taker, row(owned)))).toEqual(['refused'])
      const mine = { record: taken.record, claim: taken.claim, seq: taken.seq }
      await bench.write(taker, mine)
    })

    test('[D4] an epoch takes back what it holds itself only where asked, and its earlier claim is void', async () => {
      const bench = new StoreBench(world)
      const [node, rival] = [await bench.node(), await bench.node()]
      const lost = await bench.own(node, 'a')
      await bench.store.enqueue(node, [message('m', 'cart/a')])
      expect((await bench.claim(rival, 'a', { mine: true })).kind).toBe('owned')
      const again = await bench.claim(node, 'a', { mine: true })
      if (again.kind !== 'claimed') expect.fail(again.kind)
      expect(again.recovered).toBe(false)
      expect(kinds(await bench.commit(node, row(lost)))).toEqual(['refused'])
      expect((await bench.load(node, lost)).mailbox).toMatchObject([{ recoveries: 0 }])
      await bench.write(node, { record: again.record, claim: again.claim, seq: again.seq })
    })

    test('[D4] of many rivals for one free process exactly one gets it', async () => {
      const bench = new StoreBench(world)
      const nodes = await Promise.all(Array.from({ length: 6 }, () => bench.node()))
      for (const key of ['a', 'b', 'c']) {
        const outcomes = await Promise.all(nodes.map((node) => bench.claim(node, key)))
        expect(kinds(outcomes).filter((kind) => kind === 'claimed')).toHaveLength(1)
      }
    })

    test('[D4] a released process is free, its old claim is void, and its owner loses nothing else', async () => {
      const bench = new StoreBench(world)
      const [node, other] = [await bench.node(), await bench.node()]
      const [owned, kept] = [await bench.own(node, 'a'), await bench.own(node, 'kept')]
      const { pid } = owned.record
      expect(await bench.store.release(node, [{ process: pid, claim: owned.claim + 500 }])).toEqual([])
      expect(await bench.store.release(other, [{ process: pid, claim: owned.claim + 500 }])).toEqual([])
      expect(await bench.store.release(node, [{ process: pid, claim: owned.claim }])).toEqual([pid])
      expect(kinds(await bench.commit(node, row(owned)))).toEqual(['refused'])
      expect((await bench.record('cart/a')).owner).toBeNull()
      const next = await bench.claim(other, 'a')
      expect(next).toMatchObject({ kind: 'claimed', recovered: false })
      await bench.write(node, kept)
    })

    test('[D4] outcomes of a batch: made, absent, ended, unsupported', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const ended = await bench.own(node, 'ended')
      await bench.write(node, ended, { patch: { ended: true, exit: '"normal"' } })
      const newer = await bench.own(node, 'newer', { stateVersion: 3 })
      await bench.store.release(
        node,
        [ended, newer].map(({ record, claim }) => ({ process: record.pid, claim })),
      )
      const outcomes = await bench.store.claim(node, [
        claimRequest('newer', { stateVersion: 2 }),
        claimRequest('made', { parent: 'supervisor/shop', stateVersion: 2 }),
        claimRequest('absent', { create: false }),
        claimRequest('ended'),
      ])
      expect(kinds(outcomes)).toEqual(['unsupported', 'claimed', 'absent', 'ended'])
      expect(outcomes[1]).toMatchObject({
        seq: 0,
        record: { parent: 'supervisor/shop', stateVersion: 2, incarnation: 1 },
      })
      expect(outcomes[3]).toMatchObject({ record: { exit: '"normal"' } })
      expect(await bench.archive.process(bench.namespace, 'cart/absent')).toBeNull()
    })

    test('[D4] what is made for a message is made only where one waits', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const there = await bench.own(node, 'there')
      await bench.store.release(node, [{ process: there.record.pid, claim: there.claim }])
      await bench.store.enqueue(node, [message('m', 'cart/waited')])
      const keys = ['nobody', 'there', 'waited']
      const outcomes = await bench.store.claim(
        node,
        keys.map((key) => claimRequest(key, { create: 'mail' })),
      )
      expect(kinds(outcomes)).toEqual(['absent', 'claimed', 'claimed'])
      expect(await bench.archive.process(bench.namespace, 'cart/nobody')).toBeNull()
    })

    test('[D12] only re-creation raises the incarnation, and it clears the exit', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      await bench.write(node, owned, { patch: { ended: true, exit: '"normal"' } })
      await bench.store.release(node, [{ process: owned.record.pid, claim: owned.claim }])
      const again = await bench.claim(node, 'a', { recreate: true })
      expect(again).toMatchObject({ kind: 'claimed', seq: 1, record: { incarnation: 2, ended: false, exit: null } })
      if (again.kind !== 'claimed') expect.fail()
      await bench.store.release(node, [{ process: again.record.pid, claim: again.claim }])
      expect(await bench.claim(node, 'a', { recreate: true })).toMatchObject({ record: { incarnation: 2 } })
    })

    test('[D12] the death of an owner, not a release, raises the recoveries of the oldest message', async () => {
      const bench = new StoreBench(world)
      const [node, taker] = [await bench.node(), await bench.node()]
      const owned = await bench.own(node, 'a')
      await bench.store.enqueue(node, [
        message('r', 'cart/a', { kind: 'reply' }),
        message('w', 'cart/a', { kind: 'withdraw' }),
        message('c', 'cart/a', { kind: 'cancel' }),
        message('m1', 'cart/a'),
        message('m2', 'cart/a'),
      ])
      await bench.store.release(node, [{ process: owned.record.pid, claim: owned.claim }])
      const second = await bench.own(node, 'a')
      const recoveries = async () => (await bench.load(taker, second)).mailbox.map((found) => found.recoveries)
      expect(await recoveries()).toEqual([0, 0, 0, 0, 0])
      await bench.store.buryNode(taker, node, 'host')
      await bench.own(taker, 'a')
      expect(await recoveries()).toEqual([0, 0, 0, 1, 0])
    })

    test('[D12] attempts are raised on a row that stays', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const [ord = 0] = await bench.store.enqueue(node, [message('m', 'cart/a')])
      await bench.write(node, owned, { attempted: [{ ref: { target: 'cart/a', ord }, attempts: 2 }] })
      expect((await bench.load(node, owned)).mailbox).toMatchObject([{ id: 'm', attempts: 2 }])
      const both = {
        attempted: [{ ref: { target: 'cart/a', ord }, attempts: 3 }],
        consumed: [{ target: 'cart/a', ord }],
      }
      await bench.write(node, owned, both)
      expect(await bench.mailbox('cart/a')).toEqual([])
    })

    test('[D12] what an operator wants, a version and a divergence are columns that survive a new owner', async () => {
      const bench = new StoreBench(world)
      const [node, taker] = [await bench.node(), await bench.node()]
      const owned = await bench.own(node, 'a')
      await bench.write(node, owned, { patch: { stateVersion: 1, diverged: true, parent: 'supervisor/x' } })
      expect(await bench.store.setDesired(node, 'cart/a', 'suspended')).toBe(true)
      expect(await bench.store.setDesired(node, 'cart/none', 'suspended')).toBe(false)
      await bench.store.buryNode(taker, node, 'host')
      const next = await bench.own(taker, 'a')
      expect(next.record).toMatchObject({
        desired: 'suspended',
        diverged: true,
        parent: 'supervisor/x',
        stateVersion: 1,
      })
      await bench.write(taker, next, { patch: { desired: 'running', diverged: false, parent: null } })
      expect(await bench.record('cart/a')).toMatchObject({ desired: 'running', diverged: false, parent: null })
    })

    test('[D5] a snapshot only moves forward, never past the journal, and only under the current claim', async () => {
      const bench = new StoreBench(world)
      const [node, taker] = [await bench.node(), await bench.node()]
      const owned = await bench.own(node, 'a')
      for (let i = 0; i < 4; i++) await bench.write(node, owned)
      const write = (by: typeof node, seq: number, claim = owned.claim) =>
        bench.store.snapshot(by, [{ process: owned.record.pid, claim, seq, stateVersion: 1, value: `"at ${seq}"` }])
      const stored = async () => (await bench.load(taker, owned)).snapshot?.seq ?? null
      await write(node, 5)
      await write(node, 2, owned.claim + 500)
      expect(await stored()).toBeNull()
      await write(node, 3)
      await write(node, 2)
      expect(await stored()).toBe(3)
      expect((await bench.load(node, owned)).journal.map(({ seq }) => seq)).toEqual([4])
      await bench.store.buryNode(taker, node, 'host')
      await write(node, 4)
      expect(await stored()).toBe(3)
      const { claim } = await bench.own(taker, 'a')
      await write(taker, 4)
      expect(await stored()).toBe(3)
      await write(taker, 4, claim)
      expect((await bench.load(taker, owned)).snapshot).toEqual({ seq: 4, stateVersion: 1, value: '"at 4"' })
      expect(await bench.archive.stateRows(owned.record.pid)).toMatchObject({ snapshot: { seq: 4 }, journal: [] })
    })

    test('[D9] a load answers for each process asked, in order, with its own rows only', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [a, b] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
      await bench.write(node, a, { messages: [message('m1', 'cart/b')] })
      await bench.write(node, b, { names: [{ kind: 'register', name: 'n' }] })
      const loaded = await bench.store.load(node, [b.record.pid, a.record.pid])
      expect(loaded.map(({ process, mailbox, names }) => [process, mailbox.length, names])).toEqual([
        [b.record.pid, 1, ['n']],
        [a.record.pid, 0, []],
      ])
    })

    test('[D9] namespaces never meet', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const stranger = await bench.node({ namespace: `${bench.namespace} other` })
      const owned = await bench.own(node, 'a')
      await bench.write(node, owned, { messages: [message('m', 'cart/a')], names: [{ kind: 'register', name: 'n' }] })
      const theirs = await bench.own(stranger, 'a')
      expect(theirs.record.pid).not.toBe(owned.record.pid)
      expect((await bench.load(stranger, theirs)).mailbox).toEqual([])
      await bench.write(stranger, theirs, { names: [{ kind: 'register', name: 'n' }] })
      expect(await bench.store.buryNode(stranger, node, 'host')).toBe(false)
      expect(await bench.store.orphans(stranger, 10)).toEqual([])
    })
  })
}
