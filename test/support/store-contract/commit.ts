/** Store contract, part one: what a commit writes and what it refuses. */
import { describe, expect, test } from 'vitest'
import type { NodeIdentity } from '../../../server/store/store.ts'
import { kinds, message, type Owned, row, StoreBench, type StoreWorld, timer } from '../store-world.ts'

const BOX = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'running', turn: null } as const

export function commitContract(world: StoreWorld): void {
  describe(`commit on ${world.name}`, () => {
    test('[D1] a row is stored with everything it carries', async () => {
      const { bench, node, owned } = await setUp(world)
      const [first = 0] = await bench.write(node, owned, { messages: [message('m1', 'cart/a')] })
      const ords = await bench.write(node, owned, everything(owned, first))
      const loaded = await bench.load(node, owned)
      expect(loaded.journal.map((entry) => entry.seq)).toEqual([1, 2])
      expect(loaded.journal[1]).toMatchObject({ ...EVERYTHING_META, claim: owned.claim, payload: '[{"k":"end"}]' })
      expect(loaded.mailbox).toEqual([])
      expect(loaded.timers).toEqual([timer(owned, 'tick', { due: 5_000, root: 'r', traceparent: 't' })])
      expect(loaded.links).toEqual([
        { kind: 'link', peer: 'cart/b', ref: null, ephemeral: false },
        { kind: 'monitor', peer: 'cart/c', ref: 'ref 1', ephemeral: false },
      ])
      expect(loaded.names).toEqual(['main'])
      const [sent] = await bench.store.messages(bench.namespace, 'cart/b', 0, 10)
      expect(sent).toMatchObject({ ...FULL_MESSAGE, ord: ords[0], attempts: 0, recoveries: 0 })
      expect(await bench.record('cart/child')).toMatchObject({ parent: 'cart/a', incarnation: 1, owner: null })
      expect(await bench.record('cart/a')).toMatchObject({ restarts: 3, exit: '"crash"', incarnation: 2 })
      const [failure] = await bench.archive.failures(bench.namespace, { process: 'cart/a', limit: 10 })
      expect(failure).toMatchObject({ id: 'f1', class: 'Crash', error: { code: 'E', message: 'm' }, box: BOX })
      expect(await bench.archive.deadLetter(bench.namespace, 'd1')).toMatchObject({ args: { x: 1 }, failureId: 'f1' })
    })

    test('[D1] nothing of a refused row is stored, and its neighbours are whole', async () => {
      const { bench, node, owned } = await setUp(world)
      const other = await bench.own(node, 'other')
      const [waiting = 0] = await bench.write(node, owned, { messages: [message('m1', 'cart/a')] })
      const stale = { ...row(owned, everything(owned, waiting)), seq: owned.seq + 2 }
      const good = row(other, { messages: [message('m2', 'cart/other')] })
      expect(kinds(await bench.commit(node, stale, good))).toEqual(['refused', 'committed'])
      const loaded = await bench.load(node, owned)
      expect(loaded.journal).toHaveLength(1)
      expect(loaded.mailbox.map(({ id }) => id)).toEqual(['m1'])
      expect([loaded.timers, loaded.links, loaded.names]).toEqual([[], [], []])
      expect(await bench.mailbox('cart/b')).toEqual([])
      expect(await bench.archive.process(bench.namespace, 'cart/child')).toBeNull()
      expect(await bench.record('cart/a')).toMatchObject({ restarts: 0, exit: null })
      expect(await bench.archive.failures(bench.namespace, { limit: 10 })).toEqual([])
      expect(await bench.archive.deadLetters(bench.namespace, { limit: 10 })).toEqual([])
      expect(await bench.mailbox('cart/other')).toEqual(['m2'])
    })

    test('[D1] outcomes and message numbers come back in the order of the batch', async () => {
      const { bench, node, owned } = await setUp(world)
      const later = await bench.own(node, 'later')
      const outcomes = await bench.commit(
        node,
        row(later, { messages: [message('l1', 'cart/x'), message('l2', 'cart/x')] }),
        row(owned, { messages: [message('o1', 'cart/x')] }),
      )
      const stored = await bench.store.messages(bench.namespace, 'cart/x', 0, 10)
      const ordOf = (id: string) => stored.find((found) => found.id === id)?.ord
      expect(outcomes).toMatchObject([{ ords: [ordOf('l1'), ordOf('l2')] }, { ords: [ordOf('o1')] }])
    })

    test('[D2] a row needs the sequence before it and the current claim', async () => {
      const { bench, node, owned } = await setUp(world)
      await bench.write(node, owned)
      const again = { ...row(owned), seq: owned.seq }
      const ahead = { ...row(owned), seq: owned.seq + 2 }
      const foreign = { ...row(owned), claim: owned.claim + 1_000 }
      const unknown = { ...row(owned), process: 999_999_999, seq: 1 }
      for (const wrong of [again, ahead, foreign, unknown]) {
        expect(kinds(await bench.commit(node, wrong))).toEqual(['refused'])
      }
      const [head] = await bench.store.heads([owned.record.pid])
      expect(head).toEqual({ process: owned.record.pid, seq: 1, claim: owned.claim })
      expect(await bench.store.heads([999_999_999])).toEqual([])
    })

    test('[D2] a node whose epoch is over writes nothing', async () => {
      const { bench, node, owned } = await setUp(world)
      const taker = await bench.node()
      expect(await bench.store.buryNode(taker, node, 'host')).toBe(true)
      expect(kinds(await bench.commit(node, row(owned, { messages: [message('m', 'cart/b')] })))).toEqual(['refused'])
      await expect(bench.store.enqueue(node, [message('m', 'cart/b')])).rejects.toMatchObject({ code: 'FENCED' })
      await expect(bench.claim(node, 'b')).rejects.toMatchObject({ code: 'FENCED' })
      expect(await bench.store.setDesired(node, 'cart/a', 'stopped')).toBe(false)
      expect(await bench.store.release(node, [{ process: owned.record.pid, claim: owned.claim }])).toEqual([])
      expect(await bench.store.renewLease(node, 1_000)).toBe(false)
      expect(await bench.store.epochAlive(node)).toBe(false)
      expect(await bench.store.epochAlive(taker)).toBe(true)
      expect(await bench.mailbox('cart/b')).toEqual([])
    })

    test('[D2] a row whose consumed message is missing is refused alone', async () => {
      const { bench, node, owned } = await setUp(world)
      const other = await bench.own(node, 'other')
      const [mine = 0] = await bench.store.enqueue(node, [message('m1', 'cart/a')])
      const [theirs = 0] = await bench.store.enqueue(node, [message('m2', 'cart/other')])
      const missing = { target: 'cart/a', ord: 1_000_000_000 }
      const outcomes = await bench.commit(
        node,
        row(owned, { consumed: [{ target: 'cart/a', ord: mine }, missing], messages: [message('m3', 'cart/b')] }),
        row(other, { consumed: [{ target: 'cart/other', ord: theirs }] }),
      )
      expect(kinds(outcomes)).toEqual(['refused', 'committed'])
      expect(await bench.mailbox('cart/a')).toEqual(['m1'])
      expect(await bench.mailbox('cart/other')).toEqual([])
      expect(await bench.mailbox('cart/b')).toEqual([])
      const twice = { consumed: [{ target: 'cart/other', ord: theirs }] }
      other.seq += 1
      expect(kinds(await bench.commit(node, row(other, twice)))).toEqual(['refused'])
    })

    test('[D2] two rows of one process in a batch are an error, and neither is written', async () => {
      const { bench, node, owned } = await setUp(world)
      const pair = [row(owned), { ...row(owned), seq: 2 }]
      await expect(bench.commit(node, ...pair)).rejects.toMatchObject({ name: 'StoreFailure', kind: 'broken' })
      expect((await bench.load(node, owned)).journal).toEqual([])
    })

    test('[D7] messages of one sender keep their order, in one row and across rows', async () => {
      const { bench, node, owned } = await setUp(world)
      const ords: number[] = []
      for (let i = 0; i < 5; i++) {
        const pair = [message(`m${2 * i}`, 'cart/b'), message(`m${2 * i + 1}`, 'cart/b')]
        ords.push(...(await bench.write(node, owned, { messages: pair })))
      }
      expect(ords.toSorted((a, b) => a - b)).toEqual(ords)
      expect(await bench.mailbox('cart/b')).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`))
      const page = await bench.store.messages(bench.namespace, 'cart/b', ords[3] ?? 0, 2)
      expect(page.map(({ id }) => id)).toEqual(['m4', 'm5'])
    })

    test('[D13] a row that arms and cancels, links and unlinks, names and unnames leaves the net effect', async () => {
      const { bench, node, owned } = await setUp(world)
      const arm = (name: string, n: number) => timer(owned, name, { arm: n, due: 5_000 })
      await bench.write(node, owned, { timers: [arm('old', 1), arm('kept', 2)] })
      await bench.write(node, owned, {
        timers: [arm('new', 3), arm('gone', 4), arm('new', 5)],
        cancelTimers: [
          { name: 'gone', arm: 4 },
          { name: 'old', arm: 1 },
          { name: 'kept', arm: 1 },
        ],
        links: [
          { kind: 'link', peer: 'cart/b' },
          { kind: 'unlink', peer: 'cart/b' },
          { kind: 'link', peer: 'cart/z' },
        ],
        names: [
          { kind: 'register', name: 'x' },
          { kind: 'unregister', name: 'x' },
          { kind: 'register', name: 'y' },
        ],
      })
      const loaded = await bench.load(node, owned)
      expect(loaded.timers.map(({ name, arm: n }) => [name, n])).toEqual([
        ['kept', 2],
        ['new', 5],
      ])
      expect(loaded.links).toEqual([{ kind: 'link', peer: 'cart/z', ref: null, ephemeral: false }])
      expect(loaded.names).toEqual(['y'])
    })

    test('[D13] what is disarmed leaves the mailbox if it fired before, unless it is consumed anyway', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const [owned, other] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
      const armed = (of: Owned) => ['t', 'u', 'v'].map((name, i) => timer(of, name, { arm: i + 1, due: i + 1 }))
      await bench.write(node, owned, { timers: armed(owned) })
      await bench.write(node, other, { timers: armed(other) })
      await bench.store.fireTimers(node, 10)
      const left = async (of: Owned) => (await bench.load(node, of)).mailbox.map((found) => found.timer?.name)
      const again = timer(owned, 'u', { arm: 4 })
      await bench.write(node, owned, {
        timers: [again],
        cancelTimers: [
          { name: 'u', arm: 2 },
          { name: 't', arm: 9 },
        ],
      })
      expect(await left(owned)).toEqual(['t', 'v'])
      const [first] = (await bench.load(node, owned)).mailbox
      await bench.write(node, owned, {
        consumed: [{ target: owned.record.id, ord: first?.ord ?? 0 }],
        cancelTimers: [
          { name: 't', arm: 1 },
          { name: 'v', arm: 3 },
          { name: 'nowhere', arm: 1 },
        ],
      })
      expect(await left(owned)).toEqual([])
      expect((await bench.load(node, owned)).timers).toEqual([again])
      expect(await left(other)).toEqual(['t', 'u', 'v'])
    })

    test('[D13] both ends see a tie, and either end of a link can cut it', async () => {
      const { bench, node, owned } = await setUp(world)
      const peer = await bench.own(node, 'b')
      const watch = { kind: 'monitor', peer: 'cart/b', ref: 'r' } as const
      await bench.write(node, owned, { links: [{ kind: 'link', peer: 'cart/b' }, watch] })
      await bench.write(node, peer, { links: [{ kind: 'link', peer: 'cart/a' }] })
      expect((await bench.load(node, peer)).links).toEqual([
        { kind: 'link', peer: 'cart/a', ref: null, ephemeral: false },
        { kind: 'monitored', peer: 'cart/a', ref: 'r', ephemeral: false },
      ])
      await bench.write(node, peer, { links: [{ kind: 'unlink', peer: 'cart/a' }] })
      await bench.write(node, owned, { links: [{ kind: 'demonitor', ref: 'r' }] })
      expect((await bench.load(node, owned)).links).toEqual([])
      expect((await bench.load(node, peer)).links).toEqual([])
    })

    test('[D13] a name has one holder; taking a held one rejects the batch', async () => {
      const { bench, node, owned } = await setUp(world)
      const other = await bench.own(node, 'other')
      const take = { names: [{ kind: 'register', name: 'main' } as const] }
      await bench.write(node, owned, take)
      await bench.write(node, owned, take)
      const refused = bench.commit(node, row(other, take))
      await expect(refused).rejects.toMatchObject({ name: 'StoreFailure', kind: 'rejected', sqlState: '23505' })
      expect((await bench.load(node, other)).journal).toEqual([])
      await bench.write(node, owned, { names: [{ kind: 'unregister', name: 'main' }] })
      await bench.write(node, other, take)
      expect((await bench.load(node, other)).names).toEqual(['main'])
    })

    test('[D14] text that cannot be stored rejects the batch and nothing is written', async () => {
      const { bench, node, owned } = await setUp(world)
      const other = await bench.own(node, 'other')
      for (const bad of ['"\u0000"', '"a\u001eb"']) {
        const batch = [row(owned, { payload: bad }), row(other)]
        await expect(bench.commit(node, ...batch)).rejects.toMatchObject({ name: 'StoreFailure', kind: 'rejected' })
        const sent = [row(owned, { messages: [message('m', 'cart/b', { args: bad })] }), row(other)]
        await expect(bench.commit(node, ...sent)).rejects.toMatchObject({ name: 'StoreFailure', kind: 'rejected' })
      }
      expect((await bench.load(node, other)).journal).toEqual([])
    })

    test('[D14] payloads come back byte for byte', async () => {
      const { bench, node, owned } = await setUp(world)
      const payload = JSON.stringify([{ z: 1, a: '\u0000\ud800"\\{},NULL\t', é: '😀' }, 1e21, -0.5])
      await bench.write(node, owned, { payload, messages: [message('m', 'cart/a', { args: payload })] })
      const loaded = await bench.load(node, owned)
      expect(loaded.journal[0]?.payload).toBe(payload)
      expect(loaded.mailbox[0]?.args).toBe(payload)
    })
  })
}

async function setUp(world: StoreWorld): Promise<{ bench: StoreBench; node: NodeIdentity; owned: Owned }> {
  const bench = new StoreBench(world)
  const node = await bench.node()
  return { bench, node, owned: await bench.own(node, 'a') }
}

const EVERYTHING_META = {
  stateVersion: 7,
  codeVersion: 'code 2',
  turnIds: ['t1', 't2'],
  cause: 'cause',
  root: 'root',
  traceparent: '00-1',
  actor: 'operator',
}

const FULL_MESSAGE = message('m2', 'cart/b', {
  kind: 'call',
  sender: 'cart/a',
  n: 4,
  args: '{"q":1}',
  replyTo: { kind: 'process', id: 'cart/a', call: 'c1' },
  cause: 'cause',
  root: 'root',
  chain: ['cart/a', 'cart/0'],
  traceparent: '00-1',
  actor: 'operator',
  deadline: 1_700_000_000_123,
  timer: { name: 'tick', arm: 3 },
})

/** A row that uses every list a commit has. */
function everything(owned: Owned, consumed: number) {
  return {
    meta: EVERYTHING_META,
    payload: '[{"k":"end"}]',
    consumed: [{ target: 'cart/a', ord: consumed }],
    messages: [FULL_MESSAGE],
    timers: [timer(owned, 'tick', { due: 5_000, root: 'r', traceparent: 't' })],
    cancelTimers: [{ name: 'never', arm: 1 }],
    spawns: [{ id: 'cart/child', agent: 'cart', key: 'child', kind: 'agent' as const, parent: 'cart/a' }],
    patch: { restarts: 3, exit: '"crash"', incarnation: 2 },
    links: [
      { kind: 'link' as const, peer: 'cart/b' },
      { kind: 'monitor' as const, peer: 'cart/c', ref: 'ref 1' },
    ],
    names: [{ kind: 'register' as const, name: 'main' }],
    failures: [
      {
        ...{
          id: 'f1',
          incarnation: 1,
          class: 'Crash',
          error: { code: 'E', message: 'm' },
          attempt: 1,
          messageId: 'm1',
        },
        ...{ op: 'add', decision: 'restarted', box: { ...BOX, events: [], mailbox: { length: 0, heads: [] } } },
      },
    ],
    deadLetters: [
      { id: 'd1', messageId: 'm1', op: 'add', args: '{"x":1}', from: null, reason: 'attempts', failureId: 'f1' },
    ],
  }
}
