/** Store contract, part four: the read side for people. */
import { describe, expect, test } from 'vitest'
import { message, StoreBench, type StoreWorld } from '../store-world.ts'

export function archiveContract(world: StoreWorld): void {
  describe(`archive on ${world.name}`, () => {
    test('[D17] passive processes come in pages by id, and are counted over all of them', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = [await bench.own(node, 'x', { id: 'other/x', agent: 'other' })]
      for (const key of ['b', 'a', 'C', 'd']) owned.push(await bench.own(node, key))
      await bench.own(node, 'live')
      const claims = owned.map(({ record, claim }) => ({ process: record.pid, claim }))
      await bench.store.release(node, claims)
      const ids = (page: { items: { id: string }[] }) => page.items.map(({ id }) => id)
      const first = await bench.archive.passive(bench.namespace, { agent: 'cart', limit: 3 })
      expect([ids(first), first.cursor]).toEqual([['cart/C', 'cart/a', 'cart/b'], 'cart/b'])
      const cursor = first.cursor ?? expect.fail()
      const second = await bench.archive.passive(bench.namespace, { agent: 'cart', limit: 3, cursor })
      expect([ids(second), second.cursor]).toEqual([['cart/d'], null])
      expect(await bench.archive.passiveCount(bench.namespace, { agent: 'cart' })).toBe(4)
      expect(await bench.archive.passiveCount(bench.namespace)).toBe(5)
    })

    test('[D17] passive means that no live node owns it; the count agrees', async () => {
      const bench = new StoreBench(world)
      const [node, dead] = [await bench.node(), await bench.node()]
      await bench.own(node, 'live')
      await bench.own(dead, 'dead')
      const [freed, ended] = [await bench.own(node, 'freed'), await bench.own(node, 'ended')]
      await bench.write(node, ended, { patch: { ended: true } })
      const claims = [freed, ended].map(({ record, claim }) => ({ process: record.pid, claim }))
      await bench.store.release(node, claims)
      await bench.store.buryNode(node, dead, 'host')
      const passive = await bench.archive.passive(bench.namespace, { limit: 10 })
      expect(passive.items.map(({ id, seq }) => [id, seq])).toEqual([
        ['cart/dead', 0],
        ['cart/freed', 0],
      ])
      expect(await bench.archive.process(bench.namespace, 'cart/ended')).toMatchObject({ seq: 1 })
      expect(await bench.archive.passiveCount(bench.namespace)).toBe(2)
    })

    test('[D17] ties, names and the time of the last row are read of a process that nobody has in memory', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [a, b] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
      expect(await bench.archive.ties(bench.namespace, a.record.pid)).toEqual({ links: [], names: [], lastAt: null })
      const monitor = (key: string, ref: string) => ({ kind: 'monitor', peer: `cart/${key}`, ref }) as const
      await bench.write(node, a, {
        links: [{ kind: 'link', peer: 'cart/b' }, monitor('b', 'm1')],
        names: [{ kind: 'register', name: 'first' }],
      })
      await bench.write(node, b, { links: [monitor('a', 'm2')] })
      const { links, names } = await bench.load(node, a)
      const [last] = await bench.archive.journal(a.record.pid, { limit: 1 })
      expect(links).toHaveLength(3)
      expect(await bench.archive.ties(bench.namespace, a.record.pid)).toEqual({ links, names, lastAt: last?.at })
    })

    test('[D17] the journal is read backwards, the mailbox forwards, both from a key', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      for (let i = 1; i <= 4; i++) await bench.write(node, owned, { messages: [message(`m${i}`, 'cart/a')] })
      const seqs = async (query: { beforeSeq?: number; limit: number }) =>
        (await bench.archive.journal(owned.record.pid, query)).map(({ seq }) => seq)
      expect(await seqs({ limit: 2 })).toEqual([4, 3])
      expect(await seqs({ beforeSeq: 3, limit: 5 })).toEqual([2, 1])
      const [first] = await bench.archive.mailbox(bench.namespace, 'cart/a', { limit: 1 })
      const rest = await bench.archive.mailbox(bench.namespace, 'cart/a', { afterOrd: first?.ord ?? 0, limit: 9 })
      expect([first?.id, ...rest.map(({ id }) => id)]).toEqual(['m1', 'm2', 'm3', 'm4'])
      const stored = await bench.store.messages(bench.namespace, 'cart/a', 0, 1)
      expect(stored).toEqual([first])
      const counts = await bench.archive.mailboxCounts(bench.namespace, ['cart/a', 'cart/b'])
      expect([...counts]).toEqual([['cart/a', 4]])
      expect(await bench.archive.stateRows(owned.record.pid)).toEqual({
        snapshot: null,
        journal: (await bench.load(node, owned)).journal,
      })
    })

    test('[D17] failures come newest first and by process; one caller redelivers a dead letter', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'running' as const, turn: null }
      const failure = (id: string) => ({
        ...{ id, incarnation: 1, class: 'Crash', error: { code: 'E', message: id }, attempt: 1, messageId: null },
        ...{ op: null, decision: 'restarted', box },
      })
      await bench.write(node, owned, { failures: [failure('f1')] })
      await bench.archive.writeFailure(bench.namespace, 'cart/b', failure('f2'))
      type Query = { process?: string; before?: { at: number; id: string }; limit: number }
      const ids = async (query: Query) => (await bench.archive.failures(bench.namespace, query)).map(({ id }) => id)
      expect(await ids({ limit: 9 })).toEqual(['f2', 'f1'])
      expect(await ids({ process: 'cart/a', limit: 9 })).toEqual(['f1'])
      expect(await ids({ before: { at: 1, id: 'x' }, limit: 9 })).toEqual([])
      const letter = { messageId: 'm', op: 'add', args: '[1]', from: 'cart/b', reason: 'attempts', failureId: 'f1' }
      await bench.write(node, owned, { deadLetters: [{ id: 'd1', ...letter }] })
      const marks = await Promise.all([1, 2, 3].map(() => bench.archive.markRedelivered(bench.namespace, 'd1')))
      expect(marks.filter((mark) => mark)).toHaveLength(1)
      expect(await bench.archive.markRedelivered(bench.namespace, 'none')).toBe(false)
      const [found] = await bench.archive.deadLetters(bench.namespace, { process: 'cart/a', limit: 9 })
      expect(found).toMatchObject({ id: 'd1', process: 'cart/a', args: [1], from: 'cart/b' })
      expect(found?.redeliveredAt).toBeTypeOf('number')
      expect(await bench.archive.deadLetter(bench.namespace, 'none')).toBeNull()
    })

    test('[D17] failures that one commit stores at one time are paged without a gap', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'running' as const, turn: null }
      const failure = (id: string) => ({
        ...{ id, incarnation: 1, class: 'Crash', error: { code: 'E', message: id }, attempt: 1, messageId: null },
        ...{ op: null, decision: 'restarted', box },
      })
      await bench.write(node, owned, { failures: [failure('f2'), failure('f1'), failure('f3')] })
      await bench.write(node, owned, { failures: [failure('f0')] })
      const paged: string[] = []
      let before: { before?: { at: number; id: string } } = {}
      for (let page = 0; page < 6; page++) {
        const [last] = await bench.archive.failures(bench.namespace, { ...before, limit: 1 })
        if (last === undefined) break
        paged.push(last.id)
        before = { before: { at: last.at, id: last.id } }
      }
      expect(paged.toSorted()).toEqual(['f0', 'f1', 'f2', 'f3'])
      expect(paged.filter((id) => id !== 'f0')).toEqual(['f3', 'f2', 'f1'])
    })

    test('[D17] audit items come newest first, with what was written', async () => {
      const bench = new StoreBench(world)
      const item = {
        actor: 'op',
        verb: 'kill',
        target: 'cart/a',
        reason: null,
        outcome: 'done',
        detail: { n: [1, null] },
      }
      const first = await bench.archive.writeAudit(bench.namespace, item)
      const second = await bench.archive.writeAudit(bench.namespace, { ...item, target: 'cart/b', detail: undefined })
      expect(first).toMatchObject(item)
      expect(await bench.archive.audit(bench.namespace, { limit: 9 })).toEqual([second, first])
      expect(await bench.archive.audit(bench.namespace, { target: 'cart/b', limit: 9 })).toEqual([second])
      expect(second.detail).toBeNull()
    })
  })
}
