/** `ctx.transaction` on a real server: an app's Drizzle table and the state of a process, together or not at all. */
import { sql as raw } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import postgres from 'postgres'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createRuntime } from 'vivarium'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import type { Transaction, TransactionOptions } from '../../server/definition/transaction.ts'
import { TRANSACTION_MS_MAX } from '../../server/journal/transaction.ts'
import type { Clock } from '../../server/kernel/clock-port.ts'
import { migrate } from '../../server/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const orders = pgTable('app_orders', { id: text('id').primaryKey(), total: integer('total').notNull() })
const elsewhere = pgTable('app_elsewhere', { id: text('id').primaryKey() })

type State = { log: string[] }
type Ctx = Context<State>

let database: TestDatabase
let sql: postgres.Sql
let world: World
let oracle: Oracle
/** What the turn of a test does. */
let play: (ctx: Ctx, id: string) => unknown

// A database of its own for each test: a turn that one leaves open would be taken over by the next one's node.
beforeEach(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  sql = postgres({ ...database.connection, max: 4, onnotice: () => undefined })
  await sql`create table app_orders (id text primary key, total int not null check (total >= 0))`
  world = World.postgres(database.connection)
  oracle = new Oracle()
})
afterEach(async () => {
  await world.close()
  await sql.end()
  await database.drop()
})

const shop = agent('shop', {
  state: (): State => ({ log: [] }),
  on: { run: (ctx, id: string) => play(ctx, id), note: (ctx, word: string) => void ctx.state.log.push(word) },
})

let keys = 0
async function begin(name = 'a'): Promise<{ node: TestNode; key: string; run(): PromiseLike<unknown> }> {
  const node = await world.node(name, [shop])
  const key = `k${++keys}`
  return { node, key, run: () => node.ref(shop, key).run('o1') }
}

const rows = async (): Promise<{ id: string; total: number }[]> => [
  ...(await sql<{ id: string; total: number }[]>`select id, total from app_orders order by id`),
]

async function add(tx: Transaction, id: string, total = 7): Promise<number> {
  oracle.hit('callback')
  const [row] = await tx.insert(orders).values({ id, total }).returning()
  return row?.total ?? 0
}

test('[T10] state, outbox, result and rows are stored together', async () => {
  const { node, key, run } = await begin()
  const hold = gate()
  const reached = gate()
  play = async (ctx, id) => {
    ctx.state.log.push('before')
    ctx.send(ctx.ref(shop, `${key}-peer`).note('hello'))
    const total = await ctx.transaction((tx) => add(tx, id, 3 + ctx.state.log.length))
    ctx.state.log.push(`after ${total}`)
    reached.open()
    await hold.promise
    return total
  }
  const answer = Promise.resolve(run())
  await reached.promise
  expect(await rows()).toEqual([{ id: 'o1', total: 4 }])
  expect(await node.stored(`shop/${key}`)).toEqual({ log: ['before'] })
  await world.until(
    async () => JSON.stringify(await node.stored(`shop/${key}-peer`)) === '{"log":["hello"]}',
    'the send of the transaction',
  )
  hold.open()
  expect(await answer).toBe(4)
  await world.until(async () => JSON.stringify(await node.stored(`shop/${key}`)) === '{"log":["before","after 4"]}')
})

test('[T10] killed between commit and reply: rows and result are there, the callback does not run again', async () => {
  const { node, key } = await begin()
  play = async (ctx, id) => {
    ctx.state.log.push('before')
    const total = await ctx.transaction((tx) => add(tx, id))
    ctx.state.log.push(`after ${total}`)
  }
  node.faults.next('transact', { kind: 'die', when: 'after' })
  await node.send(node.ref(shop, key).run('o1'))
  await world.until(() => node.dead, 'the death of the node')
  expect(await rows()).toHaveLength(1)
  const b = await world.node('b', [shop])
  await world.until(async () => JSON.stringify(await b.stored(`shop/${key}`)) === '{"log":["before","after 7"]}')
  expect(oracle.count('callback')).toBe(1)
  expect(await rows()).toEqual([{ id: 'o1', total: 7 }])
})

test('[T10] a COMMIT whose answer is lost is read back, and the rows are there once', async () => {
  const { node, run } = await begin()
  play = async (ctx, id) => ctx.transaction((tx) => add(tx, id))
  node.faults.next('transact', { kind: 'lost' })
  expect(await run()).toBe(7)
  expect(oracle.count('callback')).toBe(1)
  expect(await rows()).toHaveLength(1)
})

test('[T10] while the server is away a transaction waits, and is done once', async () => {
  const { node, run } = await begin()
  play = async (ctx, id) => ctx.transaction((tx) => add(tx, id))
  node.faults.next('transact', { kind: 'fail', failure: 'unavailable' }, 3)
  expect(await run()).toBe(7)
  expect(await rows()).toHaveLength(1)
})

test('[T10] a session that is killed inside the transaction stores nothing, and the callback runs again', async () => {
  const { run } = await begin()
  play = async (ctx, id) =>
    ctx.transaction(async (tx) => {
      await tx.insert(orders).values({ id, total: 1 })
      const [row] = await tx.execute<{ pid: number }>(raw`select pg_backend_pid() as pid`)
      // More often than the pool has connections: none may stay lost.
      if (oracle.hit('callback') <= 6) await sql`select pg_terminate_backend(${row?.pid ?? 0})`
      await tx.update(orders).set({ total: 2 })
    })
  await run()
  expect(oracle.count('callback')).toBe(7)
  expect(await rows()).toEqual([{ id: 'o1', total: 2 }])
})

test('[T11] what throws is rolled back; the turn catches it and goes on with draft and outbox', async () => {
  const { node, key, run } = await begin()
  play = async (ctx, id) => {
    ctx.state.log.push('before')
    ctx.send(ctx.ref(shop, `${key}-peer`).note('kept'))
    const fail = async (tx: Transaction) => {
      await add(tx, id)
      throw new Error('changed my mind')
    }
    const heard = await ctx.transaction(fail).catch((error: { code: string; cause: Error }) => error)
    ctx.state.log.push(`${Reflect.get(heard, 'code')}: ${Reflect.get(heard, 'cause').message}`)
    await ctx.transaction((tx) => add(tx, 'o2'))
  }
  await run()
  expect(await rows()).toEqual([{ id: 'o2', total: 7 }])
  const state = '{"log":["before","TRANSACTION_FAILED: changed my mind"]}'
  await world.until(async () => JSON.stringify(await node.stored(`shop/${key}`)) === state)
  await world.until(async () => JSON.stringify(await node.stored(`shop/${key}-peer`)) === '{"log":["kept"]}')
})

test('[T11] a rejection inside rolls back and is what the caller hears', async () => {
  const { run } = await begin()
  play = (ctx, id) =>
    ctx.transaction(async (tx) => {
      await add(tx, id)
      throw new Reject('sold out')
    })
  await expect(run()).rejects.toMatchObject({ code: 'CALL_REJECTED', message: expect.stringContaining('sold out') })
  expect(await rows()).toEqual([])
})

test('[T11] a constraint that the callback swallows still rolls everything back', async () => {
  const { run } = await begin()
  play = async (ctx, id) => {
    const swallow = async (tx: Transaction) => {
      await add(tx, id)
      await tx
        .insert(orders)
        .values({ id: 'bad', total: -1 })
        .catch(() => null)
    }
    return ctx.transaction(swallow).catch((error: { code: string }) => error.code)
  }
  expect(await run()).toBe('TRANSACTION_FAILED')
  expect(await rows()).toEqual([])
})

test('[T11] a replay hears the error of a transaction again, without running it', async () => {
  const { node, key } = await begin()
  play = async (ctx, id) => {
    const fail = async (tx: Transaction) => {
      await add(tx, id)
      throw new Error('no')
    }
    const code = await ctx.transaction(fail).catch((error: { code: string }) => error.code)
    await ctx.step('after', () => null)
    if (oracle.hit('turn') === 1) {
      await ctx.step('flush', () => null)
      node.kill()
      await new Promise(() => {})
    }
    ctx.state.log.push(code as string) // only the error comes through here
  }
  await node.send(node.ref(shop, key).run('o1'))
  await world.until(() => node.dead)
  const b = await world.node('b', [shop])
  await world.until(async () => JSON.stringify(await b.stored(`shop/${key}`)) === '{"log":["TRANSACTION_FAILED"]}')
  expect(oracle.count('callback')).toBe(1)
  expect(await rows()).toEqual([])
})

test.each(['claim', 'epoch'] as const)('[T12] an owner that lost its %s stores none of the rows', async (lost) => {
  const { node, key } = await begin()
  const inside = gate()
  const hold = gate()
  play = (ctx, id) =>
    ctx.transaction(async (tx) => {
      await add(tx, id)
      inside.open()
      await hold.promise
    })
  await node.send(node.ref(shop, key).run('o1'))
  await inside.promise
  if (lost === 'claim') {
    await sql`update vivarium.heads h set claim = claim + 1000000 from vivarium.processes p
      where p.pid = h.process and p.id = ${`shop/${key}`}`
  } else await sql`update vivarium.nodes set epoch = epoch + 1000000 where name = 'a' and stopped_at is null`
  hold.open()
  await world.until(() => node.seen('process:fenced').length > 0, 'the end of the old owner')
  expect(await rows()).toEqual([])
  expect(oracle.count('callback')).toBe(1)
})

/** Two increments of one row at once; both must count. */
async function race(options: TransactionOptions): Promise<void> {
  const node = await world.node('a', [shop])
  await sql`insert into app_orders values ('o1', 0)`
  const both = gate()
  play = async (ctx, id) => {
    ctx.state.log.push('before')
    await ctx.transaction(async (tx) => {
      const [row] = await tx.select().from(orders)
      if (oracle.hit('callback') === 2) both.open()
      await both.promise
      await tx.update(orders).set({ total: (row?.total ?? 0) + 1 })
    }, options)
    ctx.state.log.push(id)
  }
  const [a, b] = [`k${++keys}`, `k${++keys}`]
  await Promise.all([node.ref(shop, a).run('o1'), node.ref(shop, b).run('o1')])
  for (const key of [a, b]) {
    await world.until(async () => JSON.stringify(await node.stored(`shop/${key}`)) === '{"log":["before","o1"]}')
  }
}

test('[T13] a serialization failure runs the callback again', async () => {
  await race({ isolationLevel: 'serializable' })
  expect(await rows()).toEqual([{ id: 'o1', total: 2 }])
  expect(oracle.count('callback')).toBe(3)
})

test('[T13] a row that was made and not accepted leaves the turn as it was, and the callback runs again', async () => {
  const { node, key, run } = await begin()
  await sql`create function clash() returns trigger language plpgsql as $$ begin
    if nextval('clashes') <= 2 then raise exception 'clash' using errcode = '40001'; end if; return new; end $$`
  await sql`create sequence clashes`
  await sql`create constraint trigger clash after insert on app_orders deferrable initially deferred
    for each row execute function clash()`
  play = async (ctx, id) => {
    ctx.state.log.push('before')
    ctx.send(ctx.ref(shop, `${key}-peer`).note('once'))
    await ctx.transaction((tx) => add(tx, id))
    ctx.state.log.push('after')
  }
  await run()
  expect(oracle.count('callback')).toBe(3)
  expect(await rows()).toHaveLength(1)
  await world.until(async () => JSON.stringify(await node.stored(`shop/${key}`)) === '{"log":["before","after"]}')
  await world.until(async () => JSON.stringify(await node.stored(`shop/${key}-peer`)) === '{"log":["once"]}')
})

test('[T13] what meets others each time is given up with a code', async () => {
  const { run } = await begin()
  play = (ctx) =>
    ctx
      .transaction(async (tx) => {
        oracle.hit('callback')
        await tx.execute(raw`do $$ begin raise exception 'again' using errcode = '40001'; end $$`)
      })
      .catch((error: { code: string }) => error.code)
  expect(await run()).toBe('TRANSACTION_CONTENDED')
  expect(oracle.count('callback')).toBe(10)
})

test('[T14] no verb inside, one at a time, not in a step, and no way to end it by SQL', async () => {
  const { run } = await begin()
  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: { code?: string }) => error.code ?? 'no code',
    )
  let kept: Transaction | null = null
  play = async (ctx) => {
    const heard: string[] = []
    heard.push(await code(ctx.transaction(() => ctx.step('inner', () => 1))))
    heard.push(await code(ctx.transaction(() => ctx.send(ctx.ref(shop, 'x').note('no')))))
    heard.push(
      await code(
        ctx.transaction(() => {
          ctx.state.log.push('no')
        }),
      ),
    )
    heard.push(await code(ctx.transaction((tx) => ctx.transaction(() => add(tx, 'nested')))))
    heard.push(await code(ctx.transaction((tx) => tx.execute(raw`commit`))))
    const [first, second] = [code(ctx.transaction((tx) => add(tx, 'o1'))), code(ctx.transaction((tx) => add(tx, 'o2')))]
    heard.push(await first, await second)
    heard.push(await ctx.step('outer', () => code(ctx.transaction((tx) => add(tx, 'o3')))))
    await ctx.transaction((tx) => {
      kept = tx
    })
    heard.push(await code(Promise.resolve().then(() => kept && add(kept, 'o4'))))
    heard.push(await code(ctx.transaction((tx) => tx.transaction((inner) => add(inner, 'o5')))))
    return heard
  }
  const inside = 'TRANSACTION_OPEN'
  expect(await run()).toEqual([
    ...[inside, inside, 'TRANSACTION_FAILED', inside, inside],
    ...['done', inside, inside],
    // Drizzle wraps what its client says.
    ...['no code', 'done'],
  ])
  expect((await rows()).map(({ id }) => id)).toEqual(['o1', 'o5'])
})

test('[T14] a checkpoint beside a transaction is refused: it would store what may still be taken back', async () => {
  const { node, key, run } = await begin()
  play = async (ctx) => {
    const [began, go] = [gate(), gate()]
    ctx.state.log.push('one')
    const transaction = ctx.transaction(async () => {
      began.open()
      await go.promise
      if (oracle.hit('callback') === 1) throw new Error('taken back')
    })
    await began.promise
    const code = await ctx.checkpoint().then(
      () => 'stored',
      (error: { code: string }) => error.code,
    )
    go.open()
    await transaction.catch(() => {})
    await ctx.checkpoint()
    return code
  }
  expect(await run()).toBe('TRANSACTION_OPEN')
  expect(await node.stored(`shop/${key}`)).toEqual({ log: ['one'] })
})

test('[T14] a callback that takes too long is given up, and what it does later does nothing', async () => {
  const clock = realClock()
  const hasty: Clock = {
    ...{ now: clock.now, monotonic: clock.monotonic, macrotask: clock.macrotask, microtask: clock.microtask },
    after: (ms, fn) => clock.after(ms === TRANSACTION_MS_MAX ? 100 : ms, fn),
  }
  const proxy = await PostgresProxy.make(() => database.connection)
  await proxy.open()
  const root = supervisor('app', { strategy: 'one_for_one', children: [pool(shop)] })
  const runtime = await createRuntime({ root, databaseUrl: proxy.url, clock: hasty })
  try {
    const hold = gate()
    const late = gate()
    play = async (ctx, id) => {
      const slow = async (tx: Transaction) => {
        await add(tx, id)
        await hold.promise
        await add(tx, 'late').catch(() => late.open())
      }
      return ctx.transaction(slow).catch((error: { code: string }) => error.code)
    }
    expect(await runtime.ref(shop, 'slow').run('o1')).toBe('TRANSACTION_TIMEOUT')
    hold.open()
    await late.promise
    expect(await rows()).toEqual([])
  } finally {
    await runtime.stop()
    await proxy.cut()
  }
})

test('[T15] tables that are in another database are refused with what to do', async () => {
  const { run } = await begin()
  play = (ctx) => ctx.transaction((tx) => tx.select().from(elsewhere)).catch((error: Error) => error.message)
  expect(await run()).toMatch(/app_elsewhere.*databaseUrl/s)
})

/** Promise hops by which a step that ends beside a callback ends before it; below 0 it ends after it. */
const LEADS = Array.from({ length: 50 }, (_, i) => i - 25)

async function hop(times: number): Promise<null> {
  for (let i = 0; i < times; i++) await null
  return null
}

test('[T5] what follows a step that ends beside a transaction is the same after a crash, in any order', async () => {
  const { node } = await begin()
  const live = new Map<string, string>()
  play = async (ctx, id) => {
    const [leaf, callback] = [gate(), gate()]
    const go = Promise.all([leaf.promise, callback.promise])
    const seen: string[] = []
    const end = async (): Promise<null> => {
      leaf.open()
      await go
      return hop(-Number(id))
    }
    const step = ctx.step('leaf', end).then(() => {
      seen.push('leaf')
      ctx.state.log.push('leaf')
      ctx.send(ctx.ref(shop, `peer-${id}`).note('leaf'))
    })
    const transaction = ctx.transaction(async () => {
      callback.open()
      await go
      await hop(Number(id))
    })
    await Promise.all([step, transaction.then(() => void ctx.state.log.push(`${seen.push('tx')}`))])
    const before = live.get(id)
    if (before === undefined) live.set(id, seen.join())
    else expect(seen.join()).toBe(before)
    await ctx.step('hang', () => (oracle.hit(`hang ${id}`) === 1 ? new Promise(() => {}) : null))
  }
  const ids = LEADS.map(String)
  for (const id of ids) {
    await node.send(node.ref(shop, id).run(id))
    await world.until(() => oracle.count(`hang ${id}`) === 1, `the first run with a lead of ${id}`)
  }
  expect(new Set(live.values())).toEqual(new Set(['leaf,tx', 'tx,leaf']))
  await world.advance(100)
  node.kill()
  const b = await world.node('b', [shop])
  await world.until(() => ids.every((id) => oracle.count(`hang ${id}`) === 2), 'the replays')
  for (const id of ids) {
    const log = live.get(id) === 'leaf,tx' ? ['leaf', '2'] : ['1', 'leaf']
    const ended = async (): Promise<boolean> => JSON.stringify(await b.stored(`shop/peer-${id}`)) === '{"log":["leaf"]}'
    await world.until(ended, `the send of the step with a lead of ${id}`)
    expect(await b.stored(`shop/${id}`), `lead ${id}`).toEqual({ log })
  }
})

test.each(['retry', 'skip'] as const)('[T11] a %s while the callback runs leaves no row of it', async (verb) => {
  const { node, key, run } = await begin()
  const hold = gate()
  play = async (ctx, id) => {
    await ctx.transaction(async (tx) => {
      await add(tx, id)
      if (oracle.count('callback') === 1) await hold.promise
    })
    ctx.state.log.push('done')
  }
  const id = `shop/${key}`
  const act = { actor: 'operator:ana' }
  const ended = Promise.resolve(run()).catch((error: { code: string }) => error.code)
  await world.until(() => oracle.count('callback') === 1)
  if (verb === 'retry') await node.control.retryTurn(id, act)
  else await node.control.skipMessage(id, act)
  hold.open()
  expect(await ended).toBe(verb === 'retry' ? null : 'DEAD_LETTERED')
  expect(await rows()).toEqual(verb === 'retry' ? [{ id: 'o1', total: 7 }] : [])
  const state = (await node.stored(id)) as State | undefined
  expect(state?.log ?? []).toEqual(verb === 'retry' ? ['done'] : [])
})

test('[E5] a retry keeps a transaction that is stored, also one whose COMMIT is on its way', async () => {
  const { node, key, run } = await begin()
  const hold = gate()
  play = async (ctx, id) => {
    await ctx.transaction((tx) => add(tx, id))
    await ctx.step('hang', () => hold.promise)
    ctx.state.log.push('done')
  }
  const ended = Promise.resolve(run())
  const retries: Promise<unknown>[] = []
  await world.until(() => oracle.count('callback') === 1)
  for (let i = 0; i < 5; i++) {
    retries.push(node.control.retryTurn(`shop/${key}`, { actor: 'operator:ana' }).catch(() => null))
    await world.advance(1)
  }
  await Promise.all(retries)
  hold.open()
  await ended
  expect(await rows()).toEqual([{ id: 'o1', total: 7 }])
  expect(await node.stored(`shop/${key}`)).toEqual({ log: ['done'] })
})
