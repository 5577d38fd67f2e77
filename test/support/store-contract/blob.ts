/** Store contract, part five: large values, who refers to them, and when they are collected. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { JOURNAL_CHARS_MAX } from '../../../server/store/archive.ts'
import type { NewBlob, NodeIdentity } from '../../../server/store/store.ts'
import { blobReference } from '../../../shared/blob-text.ts'
import { kinds, row, StoreBench, type StoreWorld } from '../store-world.ts'

let values = 0

/** A blob no other test has. */
function blob(text = 'x', nested = ''): NewBlob {
  const value = JSON.stringify(`${process.pid} ${++values} ${text}`) + nested
  return { value, hash: createHash('sha256').update(value).digest('hex') }
}

const payloadOf = (...blobs: NewBlob[]): string => `[${blobs.map(({ hash }) => blobReference(hash)).join(',')}]`

/** Walks over all blobs. Other tests use the same store, so only what is asked about can be counted on. */
async function collect(bench: StoreBench, node: NodeIdentity, untouchedMs: number, limit = 7): Promise<void> {
  let after: string | null = null
  do after = (await bench.store.collectBlobs(node, { untouchedMs, after, limit })).cursor
  while (after !== null)
}

/** A row that refers to it is accepted only while it is there. */
async function isThere(bench: StoreBench, node: NodeIdentity, { hash }: NewBlob): Promise<boolean> {
  const probe = await bench.own(node, `probe ${++values}`)
  return kinds(await bench.commit(node, row(probe, { blobs: [hash] })))[0] === 'committed'
}

const DAY_MS = 24 * 60 * 60 * 1_000
/** Later than now: everything is old enough. */
const AT_ONCE_MS = -60_000

export function blobContract(world: StoreWorld): void {
  describe(`blobs on ${world.name}`, () => {
    test('[V4] rows and snapshots come back with their large values in place', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [owned, plain] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
      const odd = blob('\u0000 \ud800 {"$blob":"no"} $&')
      const outer = blob('outer', `,${blobReference(odd.hash)}`)
      await bench.store.writeBlobs(node, [odd, outer])
      await bench.write(node, owned, { payload: payloadOf(odd), blobs: [odd.hash] })
      await bench.write(node, plain, { payload: '["plain"]' })
      const both = [odd.hash, outer.hash]
      await bench.write(node, owned, { payload: payloadOf(odd, outer), blobs: both })
      const texts = [
        `[${odd.value}]`,
        `[${odd.value},${outer.value.replace(blobReference(odd.hash), () => odd.value)}]`,
      ]
      const pids = [owned.record.pid, plain.record.pid]
      const [loaded, other] = await bench.store.load(node, pids)
      expect(loaded?.journal.map(({ payload }) => payload)).toEqual(texts)
      expect(loaded).not.toHaveProperty('missing')
      expect(other?.journal.map(({ payload }) => payload)).toEqual(['["plain"]'])
      const { record, claim } = owned
      const write = { process: record.pid, claim, seq: 1, stateVersion: 1, value: payloadOf(outer), blobs: both }
      await bench.store.snapshot(node, [write])
      const after = await bench.load(node, owned)
      expect([after.snapshot?.value, after.journal.map(({ payload }) => payload)]).toEqual([
        texts[1]?.replace(`${odd.value},`, () => ''),
        [texts[1]],
      ])
      expect(await bench.archive.stateRows(record.pid)).toEqual({ snapshot: after.snapshot, journal: after.journal })
    })

    test('[V4] a page of the journal shows its first row whole and names the size of what does not fit', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const large = [1, 2, 3].map(() => blob('y'.repeat(JOURNAL_CHARS_MAX / 2)))
      await bench.store.writeBlobs(node, large)
      for (const one of large) await bench.write(node, owned, { payload: payloadOf(one), blobs: [one.hash] })
      await bench.write(node, owned, { payload: '["small"]' })
      const [first, second, third] = large
      if (first === undefined || second === undefined || third === undefined) return expect.fail()
      const page = await bench.archive.journal(owned.record.pid, { limit: 9 })
      const left = (one: NewBlob) => `[{"$$blob":"${one.hash}","chars":${one.value.length}}]`
      expect(page.map(({ payload, omitted }) => [payload, omitted])).toEqual([
        ['["small"]', 0],
        [`[${third.value}]`, 0],
        [left(second), second.value.length],
        [left(first), first.value.length],
      ])
      const alone = await bench.archive.journal(owned.record.pid, { beforeSeq: 2, limit: 9 })
      expect(alone.map(({ payload }) => payload)).toEqual([`[${first.value}]`])
    })

    test('[D21] a row whose blobs are not there is refused, and its neighbours are stored', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [owned, other, third] = [await bench.own(node, 'a'), await bench.own(node, 'b'), await bench.own(node, 'c')]
      const [there, never] = [blob(), blob()]
      await bench.store.writeBlobs(node, [there])
      const rows = [
        row(owned, { payload: payloadOf(there, never), blobs: [there.hash, never.hash] }),
        row(other, { payload: payloadOf(there), blobs: [there.hash] }),
        row(third),
      ]
      expect(kinds(await bench.commit(node, ...rows))).toEqual(['refused', 'committed', 'committed'])
      expect((await bench.load(node, owned)).journal).toEqual([])
      expect((await bench.load(node, other)).journal).toHaveLength(1)
      const { record, claim } = other
      const write = { process: record.pid, claim, seq: 1, stateVersion: 1, value: '1', blobs: [never.hash] }
      await bench.store.snapshot(node, [write])
      expect((await bench.load(node, other)).snapshot).toBeNull()
    })

    test('[D21] a node whose epoch is over stores no blob', async () => {
      const bench = new StoreBench(world)
      const [node, dead] = [await bench.node(), await bench.node()]
      const late = blob()
      await bench.store.buryNode(node, dead, 'host')
      await bench.store.writeBlobs(dead, [late])
      expect(await isThere(bench, node, late)).toBe(false)
    })

    test('[D22] what is referred to or was touched lately stays, everything else is collected', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const [journal, snapshot, replaced, orphan, fresh] = [blob(), blob(), blob(), blob(), blob()]
      await bench.store.writeBlobs(node, [journal, snapshot, replaced, orphan])
      await bench.write(node, owned, { payload: payloadOf(journal), blobs: [journal.hash] })
      await bench.write(node, owned)
      const { record, claim } = owned
      for (const [seq, { hash }] of [replaced, snapshot].entries()) {
        const write = { process: record.pid, claim, seq: seq + 1, stateVersion: 1, value: blobReference(hash) }
        await bench.store.snapshot(node, [{ ...write, blobs: [hash] }])
      }
      await collect(bench, node, DAY_MS)
      for (const one of [journal, snapshot, replaced, orphan]) expect(await isThere(bench, node, one)).toBe(true)
      // The probes refer to them now; these are new.
      const [left, kept] = [blob(), blob()]
      await bench.store.writeBlobs(node, [left, kept])
      await bench.write(node, owned, { payload: payloadOf(kept), blobs: [kept.hash] })
      await collect(bench, node, AT_ONCE_MS)
      await bench.store.writeBlobs(node, [fresh])
      expect(await isThere(bench, node, left)).toBe(false)
      expect(await isThere(bench, node, kept)).toBe(true)
      expect(await isThere(bench, node, fresh)).toBe(true)
      expect((await bench.load(node, owned)).snapshot?.value).toBe(snapshot.value)
    })

    test('[D22] the blobs of a snapshot that was replaced are collected', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const [before, after] = [blob(), blob()]
      await bench.store.writeBlobs(node, [before, after])
      await bench.write(node, owned)
      await bench.write(node, owned)
      const { record, claim } = owned
      const write = { process: record.pid, claim, stateVersion: 1 }
      await bench.store.snapshot(node, [{ ...write, seq: 1, value: blobReference(before.hash), blobs: [before.hash] }])
      await bench.store.snapshot(node, [{ ...write, seq: 2, value: blobReference(after.hash), blobs: [after.hash] }])
      await collect(bench, node, AT_ONCE_MS)
      expect(await isThere(bench, node, before)).toBe(false)
      expect((await bench.load(node, owned)).snapshot?.value).toBe(after.value)
    })
  })
}
