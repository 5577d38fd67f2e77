/** Store contract: the facts the doctor asks for. Rows are made older, so no test waits for an age. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { message, row, StoreBench, type StoreWorld, timer } from '../store-world.ts'

/** A world whose rows can be made older. */
export type AgingWorld = StoreWorld & {
  /** Makes mailbox rows, journal rows, timers and failures of the namespace this much older. */
  age(namespace: string, ms: number): Promise<void>
  /** Takes a large value away, as a bad restore does. */
  lose(hash: string): Promise<void>
}

const MINUTE_MS = 60_000

export function symptomContract(world: AgingWorld): void {
  describe(`symptoms on ${world.name}`, () => {
    test('[G1] the oldest message of a process is told with its owner, once it is old', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      await bench.own(node, 'owned')
      const held = await bench.own(node, 'held')
      await bench.store.setDesired(node, held.record.id, 'suspended')
      await bench.store.enqueue(node, [
        ...[1, 2, 3].map((n) => message(`o${n}`, 'cart/owned', { op: `op${n}` })),
        message('h', 'cart/held'),
        message('n', 'cart/never'),
        message('p', 'node/7-7'),
      ])
      expect((await bench.archive.symptoms(bench.namespace)).mail).toEqual([])
      await world.age(bench.namespace, MINUTE_MS)
      const { mail, held: stopped, now } = await bench.archive.symptoms(bench.namespace)
      // Stored in one step: which of them is the oldest is a matter of milliseconds.
      const told = mail.map(({ process, op, pending, owner, desired }) => [process, op, pending, owner, desired])
      expect(told.sort()).toEqual([
        ['cart/held', 'add', 1, 'node', 'suspended'],
        ['cart/never', 'add', 1, null, 'running'],
        ['cart/owned', 'op1', 3, 'node', 'running'],
      ])
      expect(now - (mail[0]?.at ?? 0)).toBeGreaterThanOrEqual(MINUTE_MS)
      expect(stopped).toEqual([
        { process: 'cart/held', desired: 'suspended', diverged: false, open: false, pending: 1 },
      ])
    })

    test('[G1] a message past its deadline is told at once', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      await bench.store.enqueue(node, [message('late', 'cart/late', { deadline: 1 })])
      expect((await bench.archive.symptoms(bench.namespace)).mail).toMatchObject([
        { process: 'cart/late', deadline: 1 },
      ])
    })

    test('[G1] open turns without owner, claims of dead nodes, late timers and what diverged are told', async () => {
      const bench = new StoreBench(world)
      const [node, dead] = [await bench.node(), await bench.node()]
      const [open, parked] = [await bench.own(node, 'open'), await bench.own(node, 'parked')]
      await bench.write(node, open, { timers: [timer(open, 'tick')] })
      await bench.store.release(node, [{ process: open.record.pid, claim: open.claim, open: true }])
      await bench.write(node, parked, { patch: { diverged: true } })
      for (const key of ['left 1', 'left 2']) await bench.own(dead, key)
      await bench.store.buryNode(node, dead, 'host')
      await world.age(bench.namespace, MINUTE_MS)
      const found = await bench.archive.symptoms(bench.namespace)
      expect(found.open).toMatchObject([{ process: 'cart/open', stateVersion: 1 }])
      expect(found.claims).toEqual([{ node: dead.id, example: 'cart/left 1', processes: 2 }])
      expect(found.timers).toMatchObject([{ process: 'cart/open', name: 'tick' }])
      expect(found.held).toMatchObject([{ process: 'cart/parked', diverged: true }])
      expect(found.cut).toEqual([])
    })

    test('[G1] a process that fails again and again, and a large value that is gone, are told', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'weak')
      const value = `"${bench.namespace}"`
      const hash = createHash('sha256').update(value).digest('hex')
      await bench.store.writeBlobs(node, [{ hash, value }])
      await bench.commit(node, row(owned, { blobs: [hash] }))
      const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'idle' as const, turn: null }
      for (const n of [1, 2, 3]) {
        const error = { code: 'Error', message: `no ${n}` }
        const rest = { class: 'error', attempt: n, messageId: null, op: null, decision: 'restart', incarnation: 1, box }
        await bench.archive.writeFailure(bench.namespace, 'cart/weak', { id: `f${n}`, error, ...rest })
        const found = await bench.archive.symptoms(bench.namespace)
        expect(found.loops.map(({ process, failures }) => [process, failures])).toEqual(n < 3 ? [] : [['cart/weak', 3]])
      }
      expect((await bench.archive.symptoms(bench.namespace)).blobs).toEqual([])
      await world.lose(hash)
      expect((await bench.archive.symptoms(bench.namespace)).blobs).toEqual([{ process: 'cart/weak', seq: 1, hash }])
    })
  })
}
