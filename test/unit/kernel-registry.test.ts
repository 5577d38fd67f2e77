/** Names, duplicate keys, groups, topics, timers, ids, rows. */
import { describe, expect, test } from 'vitest'
import { NORMAL } from '../../server/kernel/exit.ts'
import type { GroupChange } from '../../server/kernel/group.ts'
import { Mailbox } from '../../server/kernel/mailbox.ts'
import { childCount, depthOf, kernelDetail, mailboxItems, processRow } from '../../server/kernel/row.ts'
import { SortableIds } from '../../server/kernel/sortable-id.ts'
import { Bench, found, thrownCode } from '../support/kernel-bench.ts'
import { seededRandom } from '../support/virtual-clock.ts'

describe('registry', () => {
  test('[K40] one name, one process; free at death; dead processes cannot take one', () => {
    const bench = new Bench()
    const a = bench.spawn('a/1')
    const b = bench.spawn('a/2')
    bench.kernel.register(a, 'boss')
    expect(thrownCode(() => bench.kernel.register(b, 'boss'))).toBe('NAME_TAKEN')
    bench.kernel.end(a, NORMAL)
    bench.kernel.register(b, 'boss')
    expect(bench.kernel.whereis('boss')).toBe(b)
    expect(thrownCode(() => bench.kernel.register(a, 'other'))).toBe('PROCESS_NOT_FOUND')
    expect(bench.kernel.unregister(b, 'boss')).toBe(true)
    expect(bench.kernel.unregister(b, 'boss')).toBe(false)
  })

  test('[K41] a refused registration leaves nothing behind', () => {
    const bench = new Bench()
    const a = bench.spawn('a/1')
    const b = bench.spawn('a/2')
    bench.kernel.register(a, 'boss')
    expect(thrownCode(() => bench.kernel.register(b, 'boss'))).toBe('NAME_TAKEN')
    bench.kernel.unregister(a, 'boss')
    expect([bench.kernel.names.keys(b), bench.kernel.names.count()]).toEqual([[], 0])
  })

  test('[K47] duplicate keys: lookup, values, count, update, dispatch; entries go with the process', () => {
    const bench = new Bench()
    const { keys } = bench.kernel
    const a = bench.spawn('a/1')
    const b = bench.spawn('a/2')
    keys.register(a, 'k', 1)
    keys.register(a, 'k', 2)
    keys.register(b, 'k', 3)
    keys.register(b, 'other')
    expect(keys.lookup('k').map((entry) => [entry.process.id, entry.value])).toEqual([
      ['a/1', 1],
      ['a/1', 2],
      ['a/2', 3],
    ])
    expect([keys.values(a, 'k'), keys.keys(b), keys.count('k'), keys.count()]).toEqual([[1, 2], ['k', 'other'], 3, 4])
    expect(keys.update(b, 'k', (value) => Number(value) + 1)).toEqual({ before: 3, after: 4 })
    expect(keys.update(b, 'none', () => 0)).toBeNull()
    const seen: string[] = []
    expect(keys.dispatch('k', (entries) => void seen.push(...entries.map((entry) => entry.process.id)))).toBe(true)
    expect(keys.dispatch('none', () => void seen.push('called'))).toBe(false)
    expect(seen).toEqual(['a/1', 'a/1', 'a/2'])
    bench.kernel.end(a, NORMAL)
    expect([keys.count('k'), keys.unregister(b, 'k'), keys.count()]).toEqual([1, true, 1])
  })
})

describe('groups', () => {
  test('[K42] joined k times, in it until left k times or dead', () => {
    const bench = new Bench()
    const { groups } = bench.kernel
    const a = bench.spawn('a/1')
    groups.join(a, 'g')
    groups.join(a, 'g')
    expect(groups.leave(a, 'g')).toBe(true)
    expect(groups.members('g')).toEqual([a])
    expect([groups.leave(a, 'g'), groups.leave(a, 'g'), groups.groups()]).toEqual([true, false, []])
    groups.join(a, 'g')
    groups.join(a, 'g')
    bench.kernel.end(a, NORMAL)
    expect(groups.members('g')).toEqual([])
  })

  test('[K43] a monitor of a group hears of joins and leaves, deaths included, in order', async () => {
    const bench = new Bench()
    const { groups } = bench.kernel
    const watcher = bench.spawn('a/w', {
      on: { moved: (ctx, change: GroupChange) => void ctx.log.push(`${change.kind} ${change.process}`) },
    })
    const a = bench.spawn('a/1')
    groups.join(a, 'g')
    const { members, monitor } = groups.monitor(watcher, 'g', 'moved')
    expect(members).toEqual([a])
    groups.join(bench.spawn('a/2'), 'g')
    bench.kernel.end(a, NORMAL)
    await bench.settle()
    groups.demonitor(monitor)
    groups.join(bench.spawn('a/3'), 'g')
    await bench.settle()
    expect(bench.log).toEqual(['join a/2', 'leave a/1'])
  })
})

describe('topics', () => {
  test('[K44] exact, one-segment and rest patterns; twice subscribed is twice delivered; gone at death', async () => {
    const bench = new Bench()
    const { kernel } = bench
    const on = {
      got: (ctx: { process: { id: string } }, value: unknown) => void bench.log.push(`${ctx.process.id} ${value}`),
    }
    const [exact, one, rest] = ['a/exact', 'a/one', 'a/rest'].map((id) => bench.spawn(id, { on })).map(found)
    kernel.subscribe(found(exact), 'orders.1.paid', 'got')
    kernel.subscribe(found(exact), 'orders.1.paid', 'got')
    kernel.subscribe(found(one), 'orders.*.paid', 'got')
    kernel.subscribe(found(rest), 'orders.>', 'got')
    expect(kernel.publish('orders.1.paid', 'x')).toBe(4)
    expect(kernel.publish('orders.2.paid', 'y', { exclude: found(one) })).toBe(1)
    expect(kernel.publish('orders', 'z')).toBe(0)
    await bench.settle()
    expect(bench.log.sort()).toEqual(['a/exact x', 'a/exact x', 'a/one x', 'a/rest x', 'a/rest y'])
    expect(kernel.unsubscribe(found(exact), 'orders.1.paid')).toBe(2)
    kernel.end(found(rest), NORMAL)
    expect(kernel.publish('orders.1.paid', 'x')).toBe(1)
    expect(kernel.topics.subscriptions(found(rest))).toEqual([])
  })

  test('[K44] a full subscriber misses it and counts it; wrong topics are refused', () => {
    const bench = new Bench()
    const spec = { ...bench.spec('a/1'), mailboxLimit: 1, parent: null }
    const process = bench.kernel.spawn(spec)
    bench.kernel.suspend(process)
    bench.kernel.subscribe(process, 't', 'x')
    expect([bench.kernel.publish('t', 1), bench.kernel.publish('t', 2)]).toEqual([1, 0])
    expect(process.stats.dropped).toBe(1)
    for (const topic of ['a..b', 'a.*', 'a.>', `${'x'.repeat(257)}`]) {
      expect(thrownCode(() => bench.kernel.publish(topic, 1))).toBe('REQUEST_INVALID')
    }
    expect(thrownCode(() => bench.kernel.subscribe(process, 'a.>.b', 'x'))).toBe('REQUEST_INVALID')
  })
})

describe('timers', () => {
  test('[K45] a timer sends its message and dies with its process', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { ring: (ctx, n) => void ctx.log.push(n) } })
    bench.kernel.after(process, 10, 'ring', 1)
    bench.kernel.after(process, 30, 'ring', 2)
    await bench.clock.advance(29)
    bench.kernel.end(process, NORMAL)
    const before = bench.clock.armed
    await bench.clock.advance(10)
    expect([bench.log, before]).toEqual([[1], 0])
    expect(thrownCode(() => bench.kernel.after(bench.spawn('a/2'), -1, 'x'))).toBe('REQUEST_INVALID')
  })

  test('[K46] a cancelled timer is never handled, not even when its message was queued', async () => {
    const bench = new Bench()
    const process = bench.spawn('a/1', { on: { ring: (ctx) => void ctx.log.push('ring') } })
    const early = bench.kernel.after(process, 100, 'ring')
    await bench.clock.advance(40)
    expect([bench.kernel.cancel(early), bench.kernel.cancel(early)]).toEqual([60, null])
    bench.kernel.suspend(process)
    const queued = bench.kernel.after(process, 10, 'ring')
    await bench.clock.advance(20)
    expect(process.mailboxLength).toBe(1)
    expect(bench.kernel.cancel(queued)).toBe(0)
    bench.kernel.resume(process)
    await bench.settle()
    expect(bench.log).toEqual([])
  })
})

test('[K50] generated ids rise strictly, also when the clock steps back', () => {
  let now = 1_000
  const clock = { now: () => now } as never
  const ids = new SortableIds(clock, seededRandom(3))
  const made: string[] = []
  for (let i = 0; i < 100; i++) {
    if (i === 50) now -= 500
    made.push(ids.next())
  }
  expect(made.toSorted()).toEqual(made)
  expect(new Set(made).size).toBe(100)
})

test('[K10] the mailbox is first in, first out through growth, putting back and taking from the middle', () => {
  const mailbox = new Mailbox()
  const expected: number[] = []
  const random = seededRandom(11)
  const envelope = (n: number) => ({ op: `${n}` }) as never
  for (let i = 0; i < 20_000; i++) {
    const dice = random.next()
    if (dice < 0.55) {
      mailbox.push(envelope(i))
      expected.push(i)
    } else if (dice < 0.6) {
      mailbox.unshift(envelope(i))
      expected.unshift(i)
    } else if (dice < 0.62) {
      const at = Math.floor(expected.length / 2)
      const taken = mailbox.take((item) => item.op === `${expected[at]}`)
      expect(taken?.op).toBe(expected.length === 0 ? undefined : `${expected[at]}`)
      expected.splice(at, 1)
    } else expect(mailbox.shift()?.op).toBe(expected.length === 0 ? undefined : `${expected.shift()}`)
    expect(mailbox.length).toBe(expected.length)
  }
  expect(mailbox.drain().map((item) => item.op)).toEqual(expected.map(String))
})

test('[K51] rows are read without calling into user code, and say what the process waits for', async () => {
  const bench = new Bench()
  const top = await bench.supervisor([bench.child('a', {}, { on: { hold: () => new Promise(() => {}) } })])
  const process = bench.get('c/a')
  bench.kernel.register(process, 'boss')
  bench.send('c/a', 'hold', { x: 1 })
  bench.send('c/a', 'next', { y: 2 })
  await bench.settle()
  expect(processRow(process, 'n1')).toMatchObject({
    id: 'c/a',
    kind: 'agent',
    parent: 'supervisor/top',
    status: 'running',
    mailbox: 1,
    depth: 1,
    node: 'n1',
  })
  expect(mailboxItems(process, 0, 10)).toMatchObject([{ op: 'next', preview: '{"y":2}', position: 0, kind: 'send' }])
  const detail = kernelDetail(process, 0, bench.kernel.names.keys(process))
  expect(detail).toMatchObject({ names: ['boss'], current: { op: 'hold', attempt: 1 }, lastExit: null })
  expect(processRow(top.process, null)).toMatchObject({ kind: 'supervisor', strategy: 'one_for_one', children: 1 })
  expect([depthOf(top.process), childCount(process)]).toEqual([0, 0])
})
