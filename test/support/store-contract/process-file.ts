/** Store contract: a process out of the tables and back. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { message, type Owned, row, StoreBench, type StoreWorld, timer } from '../store-world.ts'

export function processFileContract(world: StoreWorld): void {
  describe(`files of processes on ${world.name}`, () => {
    test('[G8] a process comes back as it was: rows, snapshot, mailbox in order, timers, large values', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'whole')
      const value = `"\\u0000 \\ud800 é ${bench.namespace}"`
      const hash = createHash('sha256').update(value).digest('hex')
      await bench.store.writeBlobs(node, [{ hash, value }])
      await bench.write(node, owned, { payload: '[1]', patch: { branch: 7 } })
      await bench.store.snapshot(node, [
        { process: owned.record.pid, claim: owned.claim, seq: 1, stateVersion: 1, value: '{"b":1,"a":"\\u0000"}' },
      ])
      await bench.commit(
        node,
        row(owned, { blobs: [hash], payload: `[{"$blob":"${hash}"}]`, timers: [timer(owned, 't')] }),
      )
      owned.seq += 1
      const replyTo = { kind: 'process' as const, id: 'cart/asker', call: 'c' }
      await bench.store.enqueue(node, [
        message('m2', 'cart/whole', { replyTo, chain: ['cart/asker'], deadline: 5_000, timer: { name: 't', arm: 3 } }),
        message('m1', 'cart/whole', { args: '"\\ud800"' }),
      ])
      const before = await bench.load(node, owned)
      const body = (await bench.archive.exportProcess(bench.namespace, 'cart/whole')) ?? expect.fail()
      expect(await bench.store.importProcess(node, body, { id: 'cart/whole', replace: false })).toBe('exists')
      expect(await bench.store.importProcess(node, body, { id: 'cart/whole', replace: true })).toBe('owned')
      // Into another namespace, as a JSON file would bring it there.
      const other = new StoreBench(world)
      const there = await other.node()
      const sent = JSON.parse(JSON.stringify(body)) as typeof body
      expect(await other.store.importProcess(there, sent, { id: 'cart/whole', replace: false })).toBe('imported')
      expect(await other.archive.exportProcess(other.namespace, 'cart/whole')).toEqual(body)
      expect((await other.store.orphans(there, 10)).map(({ id }) => id)).toEqual(['cart/whole'])
      const again = await other.own(there, 'whole')
      expect([again.seq, again.record.branch]).toEqual([2, 7])
      const after = await other.load(there, again)
      const plain = (loaded: typeof before) => ({
        snapshot: loaded.snapshot,
        journal: loaded.journal.map(({ claim: _claim, ...one }) => one),
        mailbox: loaded.mailbox.map(({ ord: _ord, ...one }) => one),
        timers: loaded.timers.map(({ process: _process, ...one }) => one),
      })
      expect(plain(after)).toEqual(plain(before))
      expect(after.journal.at(-1)?.payload).toBe(`[${value}]`)
      await other.write(there, again)
    })

    test('[G8] a copy has an id of its own; one that takes a place takes away what was there', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [owned, old] = [await bench.own(node, 'a'), await bench.own(node, 'old')]
      await bench.write(node, owned, { payload: '["a"]' })
      for (const payload of ['[1]', '[2]', '[3]'])
        await bench.write(node, old, { payload, timers: [timer(old, payload)] })
      await bench.store.enqueue(node, [message('gone', 'cart/old')])
      await bench.store.release(node, [{ process: old.record.pid, claim: old.claim }])
      const body = (await bench.archive.exportProcess(bench.namespace, 'cart/a')) ?? expect.fail()
      expect(await bench.store.importProcess(node, body, { id: 'cart/copy', replace: false })).toBe('imported')
      expect(await bench.record('cart/copy')).toMatchObject({
        id: 'cart/copy',
        key: 'copy',
        agent: 'cart',
        owner: null,
      })
      expect(await bench.store.importProcess(node, body, { id: 'cart/old', replace: true })).toBe('imported')
      const taken = await bench.own(node, 'old')
      expect(taken.record.pid).not.toBe(old.record.pid)
      const loaded = await bench.load(node, taken)
      expect([loaded.journal.map(({ payload }) => payload), loaded.mailbox, loaded.timers]).toEqual([['["a"]'], [], []])
      expect(await bench.archive.exportProcess(bench.namespace, 'cart/nobody')).toBeNull()
    })

    test('[G8] an import leaves large values alone that are there: they belong to every process', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const value = `"${bench.namespace}"`
      const hash = createHash('sha256').update(value).digest('hex')
      await bench.store.writeBlobs(node, [{ hash, value }])
      await bench.commit(node, row(owned, { blobs: [hash], payload: `[{"$blob":"${hash}"}]` }))
      const body = (await bench.archive.exportProcess(bench.namespace, 'cart/a')) ?? expect.fail()
      const forged = { ...body, blobs: [{ hash, value: '"forged"' }] }
      expect(await bench.store.importProcess(node, forged, { id: 'cart/b', replace: false })).toBe('imported')
      expect((await bench.load(node, owned)).journal.map(({ payload }) => payload)).toEqual([`[${value}]`])
    })

    test('[G8] the streams of a process that is replaced are those of the one that takes its place', async () => {
      const bench = new StoreBench(world)
      const { store } = bench
      const node = await bench.node()
      const [old, heir] = [await bench.own(node, 'old'), await bench.own(node, 'heir')]
      const path = 'processes/cart/old/s'
      const open = async ({ record: { pid }, claim }: Owned) => {
        const opened = await store.openStream(node, { process: pid, claim, path, contentType: 'a/b', turn: null })
        return opened.kind === 'open' ? opened.row : expect.fail(`The stream is ${opened.kind}.`)
      }
      const append = (stream: number, { claim }: Owned, expected: number) => {
        const record = { data: new Uint8Array([expected]), reset: false, turn: 't', step: null, attempt: 1 }
        return store.appendStreams(node, [{ stream, claim, expected, records: [record], close: expected === 1 }])
      }
      const { id } = await open(old)
      expect(await append(id, old, 0)).toEqual([{ kind: 'appended' }])
      await store.release(node, [{ process: old.record.pid, claim: old.claim }])
      const body = (await bench.archive.exportProcess(bench.namespace, heir.record.id)) ?? expect.fail()
      expect(await store.importProcess(node, body, { id: 'cart/old', replace: true })).toBe('imported')
      const taken = await bench.own(node, 'old')
      expect(await open(taken)).toMatchObject({ id, tail: 1, process: taken.record.pid })
      expect(await append(id, taken, 1)).toEqual([{ kind: 'appended' }])
      const policies = [{ agent: 'cart', maxAgeMs: -60_000, maxBytes: null }]
      const step = { policies, after: id - 1, limit: 1, records: 10 }
      expect(await store.pruneStreams(node, step)).toMatchObject({ records: 2, streams: 1 })
    })
  })
}
