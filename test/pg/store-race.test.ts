/**
 * What only a real server can get wrong: writers that meet, readers in between, connections that die. Where two
 * statements must overlap, a third session holds a row and pg_locks says when the statement under test waits for it.
 */
import { expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import { heldRow, settled } from '../support/held-row.ts'
import { claimRequest, kinds, message, row, StoreBench, timer } from '../support/store-world.ts'

const held = heldRow()
const { waiting, whileHeld } = held
const world = { name: 'Postgres', handle: () => held.handle }

test('[D3] nothing of a commit is visible before all of it is', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const [owned, other] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
  const batch = [
    row(owned, { messages: [message('m', 'cart/x')], names: [{ kind: 'register', name: 'n' }] }),
    row(other, { patch: { restarts: 1 } }),
  ]
  const hold = `update vivarium.processes set restarts = restarts where pid = ${other.record.pid}`
  const outcomes = await whileHeld(
    hold,
    () => bench.commit(node, ...batch),
    async () => {
      expect(await bench.load(node, owned)).toMatchObject({ journal: [], names: [] })
      expect(await bench.mailbox('cart/x')).toEqual([])
      expect(await bench.store.heads([owned.record.pid])).toMatchObject([{ seq: 0 }])
    },
  )
  expect(kinds(outcomes)).toEqual(['committed', 'committed'])
  expect(await bench.mailbox('cart/x')).toEqual(['m'])
})

test('[V5] a timer that fires while it is disarmed leaves nothing, cancelled or armed anew', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  const { pid, id } = owned.record
  for (const [arm, timers] of [
    [1, []],
    [2, [timer(owned, 't', { arm: 3 })]],
  ] as const) {
    await bench.write(node, owned, { timers: [timer(owned, 't', { arm })] })
    const fire = `with gone as (delete from vivarium.timers where process = ${pid} returning *)
      insert into vivarium.mailbox (namespace, target, ord, id, kind, op, n, args, timer_name, timer_arm)
      select namespace, target, nextval('vivarium.ords'), 'fired', 'timer', op, 0, args, name, arm from gone`
    await whileHeld(fire, () => bench.write(node, owned, { timers, cancelTimers: [{ name: 't', arm }] }))
    expect(await bench.mailbox(id)).toEqual([])
  }
  expect((await bench.load(node, owned)).timers).toMatchObject([{ name: 't', arm: 3 }])
})

test('[D2] a claim that goes while the batch waits for its head refuses that row, and only that', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const [owned, other] = [await bench.own(node, 'a'), await bench.own(node, 'b')]
  const [ord = 0] = await bench.store.enqueue(node, [message('m', 'cart/a')])
  const batch = [
    row(owned, { patch: { restarts: 1 }, consumed: [{ target: 'cart/a', ord }] }),
    row(other, { patch: { restarts: 1 }, messages: [message('x', 'cart/x')] }),
  ]
  const hold = `update vivarium.heads set claim = 0 where process = ${owned.record.pid}`
  expect(kinds(await whileHeld(hold, () => bench.commit(node, ...batch)))).toEqual(['refused', 'committed'])
  expect(await bench.mailbox('cart/a')).toEqual(['m'])
  expect(await bench.record('cart/a')).toMatchObject({ restarts: 0 })
})

test('[D2] a consumed row that another writer changes meanwhile is consumed all the same', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  const [ord = 0] = await bench.store.enqueue(node, [message('m', 'cart/a')])
  const hold = `update vivarium.mailbox set recoveries = 1 where ord = ${ord}`
  const outcomes = await whileHeld(hold, () =>
    bench.commit(node, row(owned, { consumed: [{ target: 'cart/a', ord }] })),
  )
  expect(kinds(outcomes)).toEqual(['committed'])
  expect(await bench.mailbox('cart/a')).toEqual([])
})

test('[D10] a burial waits for a commit in flight, and the commit is whole', async () => {
  const bench = new StoreBench(world)
  const [node, taker] = [await bench.node(), await bench.node()]
  const owned = await bench.own(node, 'a')
  let buried: Promise<boolean> = Promise.resolve(false)
  const hold = `update vivarium.processes set restarts = restarts where pid = ${owned.record.pid}`
  const commit = () => bench.commit(node, row(owned, { patch: { restarts: 1 } }))
  const outcomes = await whileHeld(hold, commit, async () => {
    expect(await bench.store.renewLease(node, 60_000), 'a heartbeat waits for nobody').toBe(true)
    buried = bench.store.buryNode(taker, node, 'host')
    expect(await bench.store.epochAlive(node)).toBe(true)
  })
  expect(kinds(outcomes)).toEqual(['committed'])
  expect(await buried).toBe(true)
  owned.seq += 1
  expect(kinds(await bench.commit(node, row(owned)))).toEqual(['refused'])
})

test('[D4] a node that registers and claims while a rival waits is not taken for dead', async () => {
  const bench = new StoreBench(world)
  const [node, late] = [await bench.node(), await bench.node()]
  const owned = await bench.own(node, 'a')
  await bench.store.release(node, [{ process: owned.record.pid, claim: owned.claim }])
  // The rival's row lock is held by a session that stands for a newer node: registered and owner in one go.
  const hold = `with n as (
      insert into vivarium.nodes
        (namespace, epoch, name, host, boot_id, os_pid, os_started_at, capabilities, lease_until)
      values
        ('${bench.namespace}', nextval('vivarium.epochs'), 'new', 'h', 'b', 1, '1', '{}', now() + interval '1 hour')
      returning id, epoch)
    update vivarium.processes p set owner = n.id, owner_epoch = n.epoch from n where p.pid = ${owned.record.pid}`
  // Without `create`: an insert would wait for the held row first, and hide what the lock statement is for.
  const request = claimRequest('a', { create: false })
  const [outcome] = await whileHeld(hold, () => bench.store.claim(late, [request]))
  expect(outcome?.kind).toBe('owned')
})

test('[D14] two writers that meet for too long end as contended, and nothing is written', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  await held.holder.unsafe('begin')
  await held.holder.unsafe(`update vivarium.heads set seq = seq where process = ${owned.record.pid}`)
  const failed = bench.commit(node, row(owned))
  await expect(failed).rejects.toMatchObject({ name: 'StoreFailure', kind: 'contended', sqlState: '55P03' })
  await held.holder.unsafe('rollback')
  await bench.write(node, owned)
})

test('[D14] a connection that dies under a commit is unavailable, and the store works on afterwards', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  await held.holder.unsafe('begin')
  await held.holder.unsafe(`update vivarium.heads set seq = seq where process = ${owned.record.pid}`)
  const failed = bench.commit(node, row(owned)).then(
    () => expect.fail('The commit cannot succeed.'),
    (error: unknown) => error,
  )
  await waiting()
  await held.watch`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'vivarium commit'`
  expect(await failed).toMatchObject({ name: 'StoreFailure', kind: 'unavailable' })
  await held.holder.unsafe('rollback')
  expect(await bench.store.heads([owned.record.pid])).toMatchObject([{ seq: 0 }])
  await bench.write(node, owned)
})

test('[D14] a server that is not there is unavailable at once, not after the patience of the driver', async () => {
  const connection = { ...held.connection, host: '127.0.0.1', port: 1 }
  const { store, close } = openPostgres({ connection, clock: realClock() })
  for (let i = 0; i < 3; i++) {
    await expect(store.nextTimer('n')).rejects.toMatchObject({ name: 'StoreFailure', kind: 'unavailable' })
  }
  await close()
})

test('[D14] plans made on empty tables stay right when the tables have grown', async () => {
  const bench = new StoreBench(world)
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  const consume = async (id: string) => {
    const [ord = 0] = await bench.write(node, owned, { messages: [message(id, 'cart/a')] })
    const startedAt = performance.now()
    await bench.write(node, owned, { consumed: [{ target: 'cart/a', ord }] })
    return performance.now() - startedAt
  }
  for (let i = 0; i < 8; i++) await consume(`early ${i}`)
  await held.watch`
    insert into vivarium.mailbox (namespace, target, ord, id, kind, op, n, args)
    select ${bench.namespace}, 'cart/' || i, nextval('vivarium.ords'), 'm', 'send', 'add', 0, '{}'
    from generate_series(1, 100000) i`
  const reads = async () => {
    const [found] = await held.watch<{ rows: string }[]>`
      select coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) as rows from pg_stat_user_tables
      where schemaname = 'vivarium' and relname = 'mailbox'`
    return Number(found?.rows)
  }
  await settled(held.watch, reads)
  const before = await reads()
  for (let i = 0; i < 20; i++) await consume(`late ${i}`)
  const after = await settled(held.watch, reads)
  expect(after - before).toBeLessThan(1_000)
})
