/** Store contract: what retention takes away, and what it never touches. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { NodeIdentity } from '../../../server/store/store.ts'
import {
  AUDIT_MS,
  DEAD_LETTER_MS,
  FAILURE_MS,
  NODE_MS,
  type PruneStep,
  REQUEST_MS,
  WAYPOINT_ROWS,
} from '../../../shared/retention.ts'
import { message, type Owned, row, StoreBench } from '../store-world.ts'
import type { AgingWorld } from './symptom.ts'

const LEASE_MS = 60_000
const DAY_MS = 24 * 60 * 60 * 1_000

function step(limits: { maxRows?: number; maxAgeMs?: number }, more: Partial<PruneStep> = {}): PruneStep {
  const policies = [{ agent: 'cart', maxRows: limits.maxRows ?? null, maxAgeMs: limits.maxAgeMs ?? null }]
  return { policies, processes: 1_000, rows: 10_000, leaseMs: LEASE_MS, ...more }
}

/** Walks once over everything. */
async function walk(bench: StoreBench, node: NodeIdentity, wanted: PruneStep): Promise<number> {
  for (let rows = 0; ; ) {
    const pruned = (await bench.store.prune(node, wanted)) ?? expect.fail('This node has the lease.')
    rows += pruned.rows
    if (pruned.over) return rows
  }
}

async function writeRows(bench: StoreBench, node: NodeIdentity, owned: Owned, upTo: number): Promise<void> {
  while (owned.seq < upTo) await bench.write(node, owned, { payload: `[${owned.seq + 1}]` })
}

const snapshot = (bench: StoreBench, node: NodeIdentity, owned: Owned, blobs: string[] = []) =>
  bench.store.snapshot(node, [
    {
      ...{ process: owned.record.pid, claim: owned.claim, seq: owned.seq, stateVersion: 1, blobs },
      value: blobs.length === 0 ? `"at ${owned.seq}"` : `{"$blob":"${blobs[0]}"}`,
    },
  ])

async function seqs(bench: StoreBench, owned: Owned): Promise<number[]> {
  return (await bench.archive.journal(owned.record.pid, { limit: 1_000 })).map(({ seq }) => seq).reverse()
}

export function retentionContract(world: AgingWorld): void {
  describe(`retention on ${world.name}`, () => {
    test('[G3] rows above the stored snapshot stay, whatever the limits say', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [owned, bare] = [await bench.own(node, 'a'), await bench.own(node, 'bare')]
      await writeRows(bench, node, owned, 6)
      await writeRows(bench, node, bare, 3)
      await snapshot(bench, node, owned)
      await writeRows(bench, node, owned, 9)
      const before = await bench.load(node, owned)
      await world.age(bench.namespace, 2 * DAY_MS)
      expect(await walk(bench, node, step({ maxRows: 1, maxAgeMs: DAY_MS }))).toBe(6)
      expect(await seqs(bench, owned)).toEqual([7, 8, 9])
      expect(await seqs(bench, bare)).toEqual([1, 2, 3])
      const strip = ({ journal, ...rest }: typeof before) => ({ ...rest, journal: journal.map((one) => one.payload) })
      expect(strip(await bench.load(node, owned))).toEqual(strip(before))
      await bench.write(node, owned)
    })

    test('[G3] nothing goes that is within both limits, of another agent, or of another namespace', async () => {
      const bench = new StoreBench(world)
      const other = new StoreBench(world)
      const [node, stranger] = [await bench.node(), await other.node()]
      const owned = await bench.own(node, 'a')
      const [foreign, far] = [await bench.own(node, 'f', { id: 'x/f', agent: 'x' }), await other.own(stranger, 'far')]
      for (const [at, one, on] of [
        [bench, owned, node],
        [bench, foreign, node],
        [other, far, stranger],
      ] as const) {
        await writeRows(at, on, one, 5)
        await snapshot(at, on, one)
      }
      expect(await walk(bench, node, step({}))).toBe(0)
      expect(await walk(bench, node, step({ maxRows: 5, maxAgeMs: DAY_MS }))).toBe(0)
      await writeRows(bench, node, owned, 10)
      expect(await walk(bench, node, step({ maxRows: 6 }))).toBe(0)
      expect(await walk(bench, node, step({ maxRows: 5 }))).toBe(5)
      expect(await seqs(bench, foreign)).toEqual([1, 2, 3, 4, 5])
      expect(await seqs(other, far)).toEqual([1, 2, 3, 4, 5])
    })

    test('[G5] a waypoint stays where the cut is, and every version from it on can be read', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'long')
      const blob = `"${bench.namespace}"`
      const hash = createHash('sha256').update(blob).digest('hex')
      await bench.store.writeBlobs(node, [{ hash, value: blob }])
      await writeRows(bench, node, owned, WAYPOINT_ROWS + 50)
      await snapshot(bench, node, owned, [hash])
      await writeRows(bench, node, owned, WAYPOINT_ROWS + 60)
      await snapshot(bench, node, owned)
      await writeRows(bench, node, owned, WAYPOINT_ROWS + 100)
      const first = WAYPOINT_ROWS + 50
      const oldest = () => bench.archive.oldestState(owned.record.pid)
      expect(await oldest()).toBe(1)
      // In steps of a few rows; the waypoint's own large value is not gone with its snapshot.
      expect(await walk(bench, node, step({ maxRows: 45 }, { rows: 300 }))).toBe(first)
      expect((await seqs(bench, owned))[0]).toBe(first + 1)
      expect(await oldest()).toBe(first)
      const at = async (seq: number) => bench.archive.stateRowsAt(owned.record.pid, seq)
      expect(await at(first - 1)).toBeNull()
      expect(await at(first)).toEqual({ snapshot: { seq: first, stateVersion: 1, value: blob }, journal: [] })
      expect((await at(first + 3))?.journal.map(({ payload }) => payload)).toEqual(
        [1, 2, 3].map((n) => `[${first + n}]`),
      )
      expect((await at(first + 12))?.snapshot).toMatchObject({ seq: first + 10, value: `"at ${first + 10}"` })
      expect(await at(owned.seq)).not.toBeNull()
      expect(await at(owned.seq + 1)).toBeNull()
      // The load takes the newest one, not the waypoint.
      expect((await bench.load(node, owned)).snapshot?.seq).toBe(first + 10)
      expect(await walk(bench, node, step({ maxRows: 1 }))).toBe(10)
      expect(await at(first)).toBeNull()
      expect(await oldest()).toBe(first + 10)
      expect(await bench.archive.oldestState((await bench.own(node, 'new')).record.pid)).toBe(0)
    })

    test('[G3] references to large values go with their rows', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'b')
      const value = `"ref ${bench.namespace}"`
      const hash = createHash('sha256').update(value).digest('hex')
      await bench.store.writeBlobs(node, [{ hash, value }])
      await bench.commit(node, row(owned, { blobs: [hash], payload: `[{"$blob":"${hash}"}]` }))
      owned.seq += 1
      await writeRows(bench, node, owned, 3)
      await snapshot(bench, node, owned)
      const collect = async () =>
        (await bench.store.collectBlobs(node, { untouchedMs: -1_000, after: null, limit: 100_000 })).collected
      await collect()
      expect((await bench.archive.journal(owned.record.pid, { limit: 9 })).at(-1)?.payload).toBe(`[${value}]`)
      expect(await walk(bench, node, step({ maxRows: 0 }))).toBe(3)
      expect(await collect()).toBeGreaterThanOrEqual(1)
    })

    test('[G4] one node at a time prunes; a successor goes on where a dead one stopped', async () => {
      const bench = new StoreBench(world)
      const [first, second] = [await bench.node(), await bench.node()]
      const owned = [await bench.own(first, '1'), await bench.own(first, '2'), await bench.own(first, '3')]
      for (const one of owned) {
        await writeRows(bench, first, one, 2)
        await snapshot(bench, first, one)
      }
      const small = step({ maxRows: 0 }, { processes: 1 })
      const until = async (node: NodeIdentity) => {
        for (;;) {
          const pruned = (await bench.store.prune(node, small)) ?? expect.fail('It has the lease.')
          if (pruned.rows > 0) return
        }
      }
      await until(first)
      expect(await bench.store.prune(second, small)).toBeNull()
      await bench.store.buryNode(second, first, 'host')
      expect(await bench.store.prune(first, small)).toBeNull()
      await until(second)
      expect((await seqs(bench, owned[0] ?? expect.fail())).length).toBe(0)
      expect((await seqs(bench, owned[1] ?? expect.fail())).length).toBe(0)
      expect((await seqs(bench, owned[2] ?? expect.fail())).length).toBe(2)
    })

    test('[G6] records of what is over go when they are old enough, and not before', async () => {
      const bench = new StoreBench(world)
      const [node, gone] = [await bench.node(), await bench.node()]
      const { namespace } = bench
      await bench.store.leave(gone)
      const error = { code: 'Error', message: 'no' }
      const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'idle' as const, turn: null }
      const failure = {
        id: 'f',
        error,
        class: 'error',
        attempt: 1,
        messageId: null,
        op: null,
        decision: 'restart',
        box,
      }
      await bench.archive.writeFailure(namespace, 'cart/a', { ...failure, incarnation: 1 })
      const owned = await bench.own(node, 'a')
      const letter = { id: 'd', messageId: 'm', op: 'add', args: 'null', from: null, reason: 'no', failureId: null }
      await bench.write(node, owned, { deadLetters: [letter] })
      await bench.archive.writeAudit(namespace, {
        ...{ actor: 'a', verb: 'kill', target: 'cart/a', reason: null, outcome: 'killed', detail: null },
      })
      for (const key of ['done', 'pending']) {
        const wanted = { scope: 's', key, argsHash: 'h', expiresAt: null, message: message(key, 'cart/a') }
        await bench.store.request(node, wanted)
      }
      await bench.write(node, owned, { requests: [{ scope: 's', key: 'done', status: 'done', result: 'null' }] })
      const none = { deadLetters: 0, failures: 0, audit: 0, requests: 0, nodes: 0 }
      let aged = 0
      const until = async (ms: number): Promise<void> => {
        await world.age(namespace, ms - aged)
        aged = ms
      }
      await until(NODE_MS - DAY_MS)
      expect(await bench.store.sweep(node, 10)).toEqual(none)
      await until(NODE_MS + DAY_MS)
      expect(await bench.store.sweep(node, 10)).toEqual({ ...none, nodes: 1 })
      await until(Math.max(FAILURE_MS, REQUEST_MS) + DAY_MS)
      expect(await bench.store.sweep(node, 10)).toEqual({ ...none, failures: 1, requests: 1 })
      expect(await bench.store.requestRow(namespace, 's', 'pending')).not.toBeNull()
      await until(DEAD_LETTER_MS + DAY_MS)
      expect(await bench.store.sweep(node, 10)).toEqual({ ...none, deadLetters: 1 })
      await until(AUDIT_MS + DAY_MS)
      expect(await bench.store.sweep(node, 10)).toEqual({ ...none, audit: 1 })
      expect(await bench.store.epochAlive(node)).toBe(true)
    })

    test('[G6] a request is kept from its outcome on, however long it took', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const wanted = { scope: 's', key: 'slow', argsHash: 'h', expiresAt: null, message: message('m', 'cart/a') }
      await bench.store.request(node, wanted)
      await world.age(bench.namespace, REQUEST_MS + DAY_MS)
      await bench.write(node, owned, { requests: [{ scope: 's', key: 'slow', status: 'done', result: '"kept"' }] })
      expect((await bench.store.sweep(node, 10)).requests).toBe(0)
      expect(await bench.store.requestRow(bench.namespace, 's', 'slow')).toMatchObject({ result: '"kept"' })
      await world.age(bench.namespace, REQUEST_MS + DAY_MS)
      expect((await bench.store.sweep(node, 10)).requests).toBe(1)
    })
  })
}
