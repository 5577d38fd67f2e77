/** Store contract: a sandbox copy taken away with every row of it, and nothing else. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { NodeIdentity } from '../../../server/store/store.ts'
import { LEASE_OVER_MS, message, type Owned, row, StoreBench, type StoreWorld, timer } from '../store-world.ts'

export function discardContract(world: StoreWorld): void {
  /** A copy of `cart/a`, claimed. */
  async function copied(bench: StoreBench, node: NodeIdentity): Promise<Owned> {
    const original = await bench.own(node, 'a')
    await bench.write(node, original, { payload: '["a"]', names: [{ kind: 'register', name: 'a' }] })
    const body = (await bench.archive.exportProcess(bench.namespace, 'cart/a')) ?? expect.fail()
    const copy = { ...body, process: { ...body.process, sandbox: 'cart/a' } }
    expect(await bench.store.importProcess(node, copy, { id: 'cart/copy', replace: false })).toBe('imported')
    return bench.own(node, 'copy')
  }

  /** Something in every table. */
  async function fill(bench: StoreBench, node: NodeIdentity, copy: Owned): Promise<{ hash: string; path: string }> {
    const { store } = bench
    const value = `"large ${bench.namespace}"`
    const hash = createHash('sha256').update(value).digest('hex')
    await store.writeBlobs(node, [{ hash, value }])
    const { pid: process } = copy.record
    const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'running' as const, turn: null }
    const failure = {
      ...{ id: 'f', incarnation: 1, class: 'Crash', error: { code: 'E', message: 'e' }, attempt: 1, messageId: null },
      ...{ op: null, decision: 'restarted', box },
    }
    const letter = { id: 'd', messageId: 'm', op: 'add', args: '[1]', from: null, reason: 'r', failureId: null }
    await bench.commit(
      node,
      row(copy, {
        ...{ blobs: [hash], payload: `[{"$blob":"${hash}"}]`, timers: [timer(copy, 't')], failures: [failure] },
        ...{
          deadLetters: [letter],
          names: [{ kind: 'register', name: 'copy' }],
          links: [{ kind: 'link', peer: 'cart/a' }],
        },
      }),
    )
    copy.seq += 1
    await store.snapshot(node, [{ process, claim: copy.claim, seq: 1, stateVersion: 1, value: '1' }])
    await store.enqueue(node, [message('waits', 'cart/copy')])
    const asked = message('asked', 'cart/copy', { replyTo: { kind: 'request', scope: 'cart/copy', key: 'k' } })
    await store.request(node, { scope: 'cart/copy', key: 'k', argsHash: 'h', expiresAt: null, message: asked })
    const path = 'processes/cart/copy/s'
    const opened = await store.openStream(node, { process, claim: copy.claim, path, contentType: 'a/b', turn: null })
    const stream = opened.kind === 'open' ? opened.row.id : expect.fail(`The stream is ${opened.kind}.`)
    const record = { data: new Uint8Array([1]), reset: false, turn: 't', step: null, attempt: 1 }
    await store.appendStreams(node, [{ stream, claim: copy.claim, expected: 0, records: [record], close: false }])
    return { hash, path }
  }

  const release = (bench: StoreBench, node: NodeIdentity, { record, claim }: Owned) =>
    bench.store.release(node, [{ process: record.pid, claim }])

  describe(`discarded sandboxes on ${world.name}`, () => {
    test('[E12] every row of it goes, and its original has all of its own', async () => {
      const bench = new StoreBench(world)
      const { store, archive, namespace } = bench
      const node = await bench.node()
      const copy = await copied(bench, node)
      const { path } = await fill(bench, node, copy)
      await release(bench, node, copy)
      const before = await archive.exportProcess(namespace, 'cart/a')
      expect(await store.discard(node, 'cart/copy')).toBe('discarded')
      const { pid } = copy.record
      expect(await archive.process(namespace, 'cart/copy')).toBeNull()
      expect(await archive.exportProcess(namespace, 'cart/copy')).toBeNull()
      expect(await store.heads([pid])).toEqual([])
      expect(await archive.journal(pid, { limit: 9 })).toEqual([])
      expect(await archive.stateRows(pid)).toEqual({ snapshot: null, journal: [] })
      expect(await bench.mailbox('cart/copy')).toEqual([])
      expect(await store.nextTimer(namespace)).toBeNull()
      expect(await store.requestRow(namespace, 'cart/copy', 'k')).toBeNull()
      expect(await store.whereis(namespace, 'copy')).toBeNull()
      expect(await archive.ties(namespace, pid)).toEqual({ links: [], names: [], lastAt: null })
      expect(await archive.failures(namespace, { process: 'cart/copy', limit: 9 })).toEqual([])
      expect(await archive.deadLetters(namespace, { process: 'cart/copy', limit: 9 })).toEqual([])
      expect(await store.streamRow(namespace, path)).toBeNull()
      expect(await archive.exportProcess(namespace, 'cart/a')).toEqual(before)
      expect(await store.whereis(namespace, 'a')).toBe('cart/a')
      // Whoever uses the id next finds nothing of it.
      const next = await bench.own(node, 'copy')
      expect(next).toMatchObject({ seq: 0, record: { incarnation: 1, sandbox: null } })
      expect(await bench.load(node, next)).toMatchObject({ snapshot: null, journal: [], mailbox: [], timers: [] })
    })

    test('[E12] what is no copy, runs, or is not there stays as it is', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const copy = await copied(bench, node)
      expect(await bench.store.discard(node, 'cart/copy')).toBe('owned')
      await bench.write(node, copy)
      expect(await bench.store.discard(node, 'cart/a')).toBe('kept')
      expect(await bench.store.discard(node, 'cart/nobody')).toBe('absent')
      const other = new StoreBench(world)
      expect(await other.store.discard(await other.node(), 'cart/copy')).toBe('absent')
      expect((await bench.record('cart/copy')).sandbox).toBe('cart/a')
    })

    test('[E12][N2] a dead owner is no owner, and whoever wrote for it writes nothing more', async () => {
      const bench = new StoreBench(world)
      const [dead, node] = [await bench.node({ leaseMs: LEASE_OVER_MS }), await bench.node()]
      const copy = await copied(bench, dead)
      expect(await bench.store.buryNode(node, { id: dead.id, epoch: dead.epoch }, 'lease')).toBe(true)
      await expect(bench.store.discard(dead, 'cart/copy')).rejects.toMatchObject({ code: 'FENCED' })
      expect(await bench.store.discard(node, 'cart/copy')).toBe('discarded')
      expect((await bench.commit(node, row(copy)))[0]?.kind).toBe('refused')
    })
  })
}
