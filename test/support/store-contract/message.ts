/** Store contract, part three: messages from outside, requests, timers, nodes, and who should run but does not. */
import { describe, expect, test } from 'vitest'
import { type NewMessage, WAKE } from '../../../server/store/store.ts'
import { kinds, LEASE_OVER_MS, message, row, StoreBench, type StoreWorld, timer } from '../store-world.ts'

/** Epoch ms at which nothing is due yet. */
const FUTURE = 4_000_000_000_000

/** One request `k` of `cart/a`, by whoever asks for it. */
async function started(world: StoreWorld) {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  const ask = (id = 'm1') =>
    bench.store.request(node, { scope: 's', key: 'k', argsHash: 'h', expiresAt: 1, message: message(id, 'cart/a') })
  const wait = (target: string, call: string, key = 'k') =>
    bench.store.awaitResult(node, { scope: 's', key, target, call })
  const settle = (result: string) => ({ scope: 's', key: 'k', status: 'done', result }) as const
  return { bench, node, owned, ask, wait, settle }
}

export function messageContract(world: StoreWorld): void {
  describe(`messages on ${world.name}`, () => {
    test('[D7] messages from outside get numbers in their order and come back whole', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const sent = [message('m1', 'cart/a', { chain: ['cart/z'] }), message('m2', 'cart/b'), message('m3', 'cart/a')]
      const ords = await bench.store.enqueue(node, sent)
      expect(ords.toSorted((a, b) => a - b)).toEqual(ords)
      const [first] = await bench.store.messages(bench.namespace, 'cart/a', 0, 10)
      expect(first).toMatchObject({ ...sent[0], ord: ords[0] })
      expect(await bench.mailbox('cart/a')).toEqual(['m1', 'm3'])
      expect(await bench.store.enqueue(node, [])).toEqual([])
    })

    test('[D7] rows of a pseudo target are handed out once', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const sent = Array.from({ length: 6 }, (_, i) => message(`m${i}`, 'client/1'))
      await bench.store.enqueue(node, sent)
      const [one, two] = await Promise.all([
        bench.store.take(node, 'client/1', 4),
        bench.store.take(node, 'client/1', 4),
      ])
      const ids = [...one, ...two, ...(await bench.store.take(node, 'client/1', 10))].map(({ id }) => id)
      expect(ids.toSorted()).toEqual(sent.map(({ id }) => id))
      expect(await bench.mailbox('client/1')).toEqual([])
    })

    test.each(['bury', 'leave'] as const)('[D10] what a node did not live to take goes with it (%s)', async (how) => {
      const bench = new StoreBench(world)
      const [node, other] = [await bench.node(), await bench.node()]
      const targets = [node, other].map(({ id, epoch }) => `node/${id}-${epoch}`)
      for (const target of targets) await bench.store.enqueue(other, [message(`m ${target}`, target)])
      if (how === 'bury') await bench.store.buryNode(other, node, 'host')
      else await bench.store.leave(node)
      const left = await Promise.all(targets.map((target) => bench.mailbox(target)))
      expect(left.map((rows) => rows.length)).toEqual([0, 1])
    })

    test('[M7] stored calls of processes are found by their targets, oldest first', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const callers = [await bench.own(node, 'a'), await bench.own(node, 'b')]
      const call = (id: string, target: string, sender: string) =>
        message(id, target, { kind: 'call', sender, replyTo: { kind: 'process', id: sender, call: `${id}/k` } })
      const [, , ab, bc] = await bench.store.enqueue(node, [
        message('send', 'cart/b', { sender: 'cart/a' }),
        message('outside', 'cart/b', { kind: 'call', replyTo: { kind: 'node', node: 1, epoch: 1, call: 'x' } }),
        call('m1', 'cart/b', 'cart/a'),
        call('m2', 'cart/c', 'cart/b'),
        call('m3', 'cart/d', 'cart/a'),
      ])
      const [a, b] = callers.map(({ record }) => record.pid)
      const edges = [
        { caller: 'cart/a', pid: a, call: 'm1/k', target: 'cart/b', op: 'add', ord: ab },
        { caller: 'cart/b', pid: b, call: 'm2/k', target: 'cart/c', op: 'add', ord: bc },
      ]
      const found = (limit: number) => bench.store.waitEdges(bench.namespace, ['cart/c', 'cart/b'], limit)
      expect((await found(10)).map((edge) => ({ ...edge, op: 'add' }))).toEqual(edges)
      expect(await bench.store.waitEdges(bench.namespace, [], 10)).toEqual([])
      expect(await bench.store.waitEdges('elsewhere', ['cart/b'], 10)).toEqual([])
    })

    test('[D8] one request per key: the first caller creates it and its message, the others get its row', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const ask = (id: string, argsHash = 'h1') =>
        bench.store.request(node, { scope: 's', key: 'k', argsHash, expiresAt: null, message: message(id, 'cart/a') })
      const answers = await Promise.all(['m1', 'm2', 'm3', 'm4'].map((id) => ask(id)))
      const created = answers.filter((answer) => answer.created)
      expect(created).toHaveLength(1)
      const [{ row: first, ord } = expect.fail()] = created
      expect(answers.map((answer) => answer.row)).toEqual(answers.map(() => first))
      expect(await bench.store.messages(bench.namespace, 'cart/a', 0, 10)).toMatchObject([{ ord, id: first.messageId }])
      expect((await ask('m5', 'h2')).row).toMatchObject({ argsHash: 'h1', status: 'pending', result: null })
      expect(await bench.store.requestRow(bench.namespace, 's', 'k')).toEqual(first)
      expect(await bench.store.requestRow(bench.namespace, 's', 'none')).toBeNull()
    })

    test('[D8] a request has one outcome; once settled and expired its key is free', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      const ask = (id: string) =>
        bench.store.request(node, { scope: 's', key: 'k', argsHash: 'h', expiresAt: 1, message: message(id, 'cart/a') })
      await ask('m1')
      expect((await ask('m2')).created).toBe(false)
      const settle = (status: 'done' | 'failed', result: string) =>
        bench.write(node, owned, { requests: [{ scope: 's', key: 'k', status, result }] })
      await settle('done', '1')
      await settle('failed', '2')
      expect(await bench.store.requestRow(bench.namespace, 's', 'k')).toMatchObject({ status: 'done', result: '1' })
      expect(await ask('m3')).toMatchObject({
        created: true,
        row: { status: 'pending', result: null, messageId: 'm3' },
      })
    })

    test('[D45] the commit that stores a result gives each who waits one row, and tells whom', async () => {
      const { bench, node, owned, ask, wait, settle } = await started(world)
      const waiter = await bench.own(node, 'w')
      const here = `node/${node.id}-${node.epoch}`
      expect(await wait('cart/w', 'a')).toEqual({ row: null, kept: false })
      await ask()
      for (const call of ['a', 'b', 'a']) {
        expect(await wait('cart/w', call)).toMatchObject({ row: { status: 'pending' }, kept: true })
      }
      for (const target of [here, 'cart/nobody', `node/${node.id}-${node.epoch + 1}`]) await wait(target, 'x')
      const stale = { ...row(owned, { requests: [settle('no')] }), seq: 99 }
      expect(kinds(await bench.commit(node, stale))).toEqual(['refused'])
      const other = row(waiter, { messages: [message('m', 'cart/x')] })
      const [outcome, beside] = await bench.commit(node, row(owned, { requests: [settle('{"ok":7}')] }), other)
      const told = outcome?.kind === 'committed' ? outcome.told : undefined
      expect(told?.toSorted()).toEqual(['cart/w', here])
      expect(beside).not.toHaveProperty('told')
      const rows = await bench.store.messages(bench.namespace, 'cart/w', 0, 10)
      expect(rows.map(({ kind, op, args, sender, id }) => [kind, op, args, sender, id])).toEqual([
        ['reply', 'a', '{"ok":7}', 'cart/a', 'm1.result'],
        ['reply', 'b', '{"ok":7}', 'cart/a', 'm1.result'],
      ])
      expect(await bench.store.take(node, here, 10)).toMatchObject([{ kind: 'reply', op: 'x', args: '{"ok":7}' }])
      expect(await wait('cart/w', 'late')).toMatchObject({ row: { status: 'done', result: '{"ok":7}' }, kept: false })
      expect([await bench.mailbox('cart/nobody'), (await bench.mailbox('cart/w')).length]).toEqual([[], 2])
    })

    test('[D45] a later outcome tells nobody, and a new request under the key begins without waiters', async () => {
      const { bench, node, owned, ask, wait, settle } = await started(world)
      await bench.own(node, 'w')
      await ask()
      await wait('cart/w', 'a')
      await bench.write(node, owned, { requests: [settle('1')] })
      const [again] = await bench.commit(node, row(owned, { requests: [settle('2')] }))
      expect(again).toMatchObject({ told: [] })
      owned.seq += 1
      expect((await ask('m2')).created).toBe(true)
      await bench.write(node, owned, { requests: [settle('3')] })
      expect(await bench.mailbox('cart/w')).toEqual(['m1.result'])
    })

    test('[D45] a process that ended, and a node whose epoch is over, wait for nothing', async () => {
      const { bench, node, owned, ask, wait, settle } = await started(world)
      const waiter = await bench.own(node, 'w')
      const gone = await bench.node()
      await ask()
      await wait('cart/w', 'a')
      await bench.write(node, waiter, { patch: { ended: true } })
      await bench.store.leave(gone)
      const asked = { scope: 's', key: 'k', target: 'cart/a', call: 'b' }
      expect(await bench.store.awaitResult(gone, asked)).toMatchObject({ row: { status: 'pending' }, kept: false })
      await bench.write(node, owned, { requests: [settle('1')] })
      expect([await bench.mailbox('cart/w'), await bench.mailbox('cart/a')]).toEqual([[], ['m1']])
    })

    test('[D45] an asking that meets the commit gets a row or the result, never neither and never both', async () => {
      const { bench, node, owned, wait, settle } = await started(world)
      await bench.own(node, 'w')
      for (let i = 0; i < 20; i++) {
        const key = `k${i}`
        const begun = message(`m${i}`, 'cart/a')
        await bench.store.request(node, { scope: 's', key, argsHash: 'h', expiresAt: null, message: begun })
        const asking = Array.from({ length: 10 }, (_, n) => wait('cart/w', `${key}/${n}`, key))
        const stored = bench.write(node, owned, { requests: [{ ...settle('1'), key }] })
        const answers = await Promise.all(asking)
        await stored
        const rows = await bench.store.messages(bench.namespace, 'cart/w', 0, 1_000)
        for (const [n, { row: found, kept }] of answers.entries()) {
          const told = rows.filter(({ op }) => op === `${key}/${n}`).length
          expect([told, kept, found?.status]).toEqual(kept ? [1, true, 'pending'] : [0, false, 'done'])
        }
      }
    })

    test('[D6] a due timer becomes one message that names its arm, however many nodes fire', async () => {
      const bench = new StoreBench(world)
      const nodes = [await bench.node(), await bench.node(), await bench.node()] as const
      const owned = await bench.own(nodes[0], 'a')
      const names = Array.from({ length: 20 }, (_, i) => `t${i}`)
      const later = timer(owned, 'later', { due: 4_000_000_000_000 })
      await bench.write(nodes[0], owned, {
        timers: [...names.map((name, i) => timer(owned, name, { arm: i + 1, due: i + 1, args: `${i}` })), later],
      })
      expect(await bench.store.nextTimer(bench.namespace)).toBe(1)
      const fired = (await Promise.all(nodes.map((node) => bench.store.fireTimers(node, 100)))).flat()
      expect(fired.map((found) => found.timer?.name).toSorted()).toEqual(names.toSorted())
      const { mailbox, timers } = await bench.load(nodes[0], owned)
      expect(mailbox).toHaveLength(20)
      const third = mailbox.find((found) => found.timer?.name === 't2')
      expect(third).toMatchObject({ kind: 'timer', op: 'tick', args: '2', timer: { name: 't2', arm: 3 }, sender: null })
      expect(timers).toEqual([later])
      expect(await bench.store.nextTimer(bench.namespace)).toBe(later.due)
      expect(await bench.store.fireTimers(nodes[0], 100)).toEqual([])
    })

    test('[D6] timers fire earliest first and no more than asked; a fenced node fires none', async () => {
      const bench = new StoreBench(world)
      const [node, taker] = [await bench.node(), await bench.node()]
      const owned = await bench.own(node, 'a')
      const timers = ['c', 'a', 'b'].map((name, i) => timer(owned, name, { arm: i, due: [30, 10, 20][i] ?? 0 }))
      await bench.write(node, owned, { timers })
      const name = (found: { timer: { name: string } | null }) => found.timer?.name
      expect((await bench.store.fireTimers(node, 2)).map(name)).toEqual(['a', 'b'])
      await bench.store.buryNode(taker, node, 'host')
      expect(await bench.store.fireTimers(node, 2)).toEqual([])
      expect((await bench.store.fireTimers(taker, 2)).map(name)).toEqual(['c'])
      expect(await bench.store.nextTimer(bench.namespace)).toBeNull()
    })
  })

  describe(`nodes on ${world.name}`, () => {
    test('[D10] each start has an epoch of its own, and renewal needs it', async () => {
      const bench = new StoreBench(world)
      const [one, two] = [await bench.node(), await bench.node()]
      expect(one.epoch).not.toBe(two.epoch)
      expect(await bench.store.renewLease({ ...one, epoch: two.epoch }, 1_000)).toBe(false)
      expect(await bench.store.renewLease(one, 1_000)).toBe(true)
      const rows = await bench.store.nodes(bench.namespace)
      expect(rows.map(({ id, epoch, stoppedAt }) => ({ id, epoch, stoppedAt }))).toEqual([
        { id: one.id, epoch: one.epoch, stoppedAt: null },
        { id: two.id, epoch: two.epoch, stoppedAt: null },
      ])
      expect(rows[0]).toMatchObject({ host: 'host', bootId: 'boot', osPid: 1, osStartedAt: '1', capabilities: {} })
    })

    test('[D10] a lease that holds, a renewed one, and a session nobody ever held prove nothing', async () => {
      const bench = new StoreBench(world)
      const [node, taker] = [await bench.node({ leaseMs: LEASE_OVER_MS }), await bench.node()]
      expect(await bench.store.buryNode(taker, node, 'session')).toBe(false)
      expect(await bench.store.renewLease(node, 60_000)).toBe(true)
      expect(await bench.store.buryNode(taker, node, 'lease')).toBe(false)
      expect(await bench.store.buryNode(taker, { ...node, epoch: node.epoch + 500 }, 'host')).toBe(false)
      expect(await bench.store.renewLease(node, LEASE_OVER_MS)).toBe(true)
      expect(await bench.store.buryNode(taker, node, 'lease')).toBe(true)
      expect(await bench.store.buryNode(taker, node, 'lease')).toBe(false)
      expect(await bench.store.buryNode(node, taker, 'host')).toBe(false)
    })

    test('[D10] leaving frees everything; a dead node is listed while it owns something', async () => {
      const bench = new StoreBench(world)
      const [node, other] = [await bench.node(), await bench.node()]
      const owned = await bench.own(node, 'a')
      await bench.store.leave(node)
      expect(await bench.store.epochAlive(node)).toBe(false)
      expect((await bench.store.nodes(bench.namespace)).map(({ id }) => id)).toEqual([other.id])
      expect((await bench.commit(other, row(owned)))[0]?.kind).toBe('refused')
      expect(await bench.store.orphans(other, 10)).toEqual([{ id: 'cart/a', agent: 'cart', key: 'a' }])
      const third = await bench.node()
      await bench.own(other, 'a')
      await bench.store.buryNode(third, other, 'host')
      const rows = await bench.store.nodes(bench.namespace)
      expect(rows.map(({ id, stoppedAt }) => [id, stoppedAt === null])).toEqual([
        [other.id, false],
        [third.id, true],
      ])
      await bench.own(third, 'a')
      expect((await bench.store.nodes(bench.namespace)).map(({ id }) => id)).toEqual([third.id])
    })

    test('[D11] found are: dead owners, open turns, spawned children, targets with messages; nobody else', async () => {
      const bench = new StoreBench(world)
      const [node, dead] = [await bench.node(), await bench.node()]
      const live = await bench.own(node, 'live')
      await bench.own(dead, 'dead')
      const [open, idle, ended] = [
        await bench.own(node, 'open'),
        await bench.own(node, 'idle'),
        await bench.own(node, 'ended'),
      ]
      await bench.write(node, ended, { patch: { ended: true } })
      await bench.write(node, live, {
        spawns: [{ id: 'cart/child', agent: 'cart', key: 'child', kind: 'agent', parent: 'cart/live' }],
        messages: ['cart/live', 'cart/unseen/key', 'cart/ended', 'client/1', 'node/1'].map((to) => message(to, to)),
      })
      await bench.store.release(
        node,
        [idle, ended, open].map((one) => ({ process: one.record.pid, claim: one.claim, open: one === open })),
      )
      const found = async () => (await bench.store.orphans(node, 100)).map(({ id }) => id).toSorted()
      expect(await found()).toEqual(['cart/child', 'cart/open', 'cart/unseen/key'])
      await bench.store.buryNode(node, dead, 'host')
      expect(await found()).toEqual(['cart/child', 'cart/dead', 'cart/open', 'cart/unseen/key'])
      const unseen = (await bench.store.orphans(node, 100)).find(({ id }) => id === 'cart/unseen/key')
      expect(unseen).toEqual({ id: 'cart/unseen/key', agent: 'cart', key: 'unseen/key' })
      expect(await bench.store.orphans(node, 2)).toHaveLength(2)
      for (const key of ['open', 'child', 'dead', 'unseen/key']) await bench.own(node, key)
      expect(await found()).toEqual([])
    })

    test('[D8] a signal is stored with the request or the one that exists, and never with a refused one', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const ask = (id: string, argsHash: string) =>
        bench.store.request(node, {
          ...{ scope: 'cart/a', key: 'key', argsHash, expiresAt: null, message: message(id, 'cart/a') },
          signal: message(`${id} signal`, 'cart/a', { op: 'signal' }),
        })
      const first = await ask('one', 'same')
      expect(first.created).toBe(true)
      expect(first.signalOrd).toBeGreaterThan(first.ord)
      const second = await ask('two', 'same')
      expect([second.created, second.ord, second.signalOrd > first.signalOrd]).toEqual([false, 0, true])
      const other = await ask('three', 'other')
      expect([other.created, other.signalOrd]).toEqual([false, 0])
      expect(await bench.mailbox('cart/a')).toEqual(['one', 'one signal', 'two signal'])
      const [row] = await bench.store.messages(bench.namespace, 'cart/a', first.signalOrd - 1, 1)
      expect(row).toMatchObject({ id: 'one signal', op: 'signal', ord: first.signalOrd })
    })

    test('[D11] a parked process is found when its mailbox holds what its turn can take, and not before', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const found = async () => (await bench.store.orphans(node, 100)).map(({ key }) => key).toSorted()
      const cases: [string, string[], Partial<NewMessage>, boolean][] = [
        ['behind', [], { op: 'add' }, false],
        ['other', ['pay'], { op: 'add' }, false],
        ['wanted', ['pay', 'add'], { op: 'add' }, true],
        ['any', ['*'], { op: 'add' }, true],
        ['reply', [], { op: 'call 1', kind: 'reply' }, true],
        ['exit', [], { op: '$exit', kind: 'exit' }, true],
        ['cancel', [], { op: 'some message', kind: 'cancel' }, true],
        ['down', ['add'], { op: '$down', kind: 'down' }, false],
        ['timer', [], { op: WAKE, kind: 'timer', timer: { name: WAKE, arm: 1 } }, true],
      ]
      for (const [key, takes] of cases) {
        const { record, claim } = await bench.own(node, key)
        await bench.store.release(node, [
          { process: record.pid, claim, park: { wait: '{}', takes, judged: 0, timer: null } },
        ])
      }
      expect(await found()).toEqual([])
      await bench.store.enqueue(
        node,
        cases.map(([key, , parts]) => message(key, `cart/${key}`, parts)),
      )
      const wanted = cases.flatMap(([key, , , wakes]) => (wakes ? [key] : []))
      expect(await found()).toEqual(wanted.toSorted())
      for (const key of wanted) await bench.own(node, key)
      expect(await found()).toEqual([])
    })

    test('[D4] parking gives the claim up, shows the wait and sets the one timer of the turn, or ends it', async () => {
      const bench = new StoreBench(world)
      const node = await bench.node()
      const owned = await bench.own(node, 'a')
      await bench.write(node, owned, { timers: [timer(owned, 'mine', { due: FUTURE })] })
      const { pid } = owned.record
      const due = FUTURE + 1_000
      const wake = timer(owned, WAKE, { op: WAKE, due, arm: 7 })
      const park = { wait: '{"kind":"sleep"}', takes: ['x', 'y'], judged: 0, timer: wake }
      const claims = [{ process: pid, claim: owned.claim, park }]
      expect(await bench.store.release(node, claims)).toEqual([pid])
      expect(await bench.store.release(node, claims)).toEqual([])
      expect(await bench.record('cart/a')).toMatchObject({ owner: null, wait: '{"kind":"sleep"}' })
      const again = await bench.own(node, 'a')
      expect(again.record.wait).toBeNull()
      const { timers } = await bench.load(node, again)
      expect(timers.map(({ name, arm, due: at, op }) => [name, arm, at, op])).toEqual([
        [WAKE, 7, due, WAKE],
        ['mine', 1, FUTURE, 'tick'],
      ])
      const bare = { ...park, timer: null }
      await bench.store.release(node, [{ process: pid, claim: again.claim, park: bare }])
      const last = await bench.own(node, 'a')
      expect((await bench.load(node, last)).timers.map(({ name }) => name)).toEqual(['mine'])
      expect(await bench.store.release(node, [{ process: pid, claim: again.claim, park }])).toEqual([])
      expect((await bench.load(node, last)).timers).toHaveLength(1)
    })

    test('[D11] left alone are suspended processes, and agents and versions this node does not have', async () => {
      const bench = new StoreBench(world)
      const other = await bench.node()
      const old = await bench.node({ capabilities: { cart: 1 } })
      const fresh = await bench.node({ capabilities: { cart: 2 } })
      const [stopped, newer] = [await bench.own(other, 'stopped'), await bench.own(other, 'newer', { stateVersion: 2 })]
      await bench.store.setDesired(other, 'cart/stopped', 'suspended')
      await bench.store.enqueue(
        other,
        ['cart/stopped', 'cart/newer', 'mailer/1', 'supervisor/shop'].map((to) => message(to, to)),
      )
      await bench.store.release(
        other,
        [stopped, newer].map(({ record, claim }) => ({ process: record.pid, claim })),
      )
      const ids = async (node: typeof old) => (await bench.store.orphans(node, 10)).map(({ id }) => id).toSorted()
      expect(await ids(old)).toEqual(['supervisor/shop'])
      expect(await ids(fresh)).toEqual(['cart/newer', 'supervisor/shop'])
      await bench.store.setDesired(other, 'cart/stopped', 'running')
      expect(await ids(old)).toEqual(['cart/stopped', 'supervisor/shop'])
    })

    test('[D10] the offset of the clock is small on one machine', async () => {
      const bench = new StoreBench(world)
      expect(Math.abs(await bench.store.clockOffset())).toBeLessThan(1_000)
    })
  })
}
