/** Streams where two statements must overlap, and agents' streams over two nodes on a real server. */
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import { migrate } from '../../server/store/migrate.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { World } from '../support/runtime.ts'
import { StoreBench } from '../support/store-world.ts'

let database: TestDatabase
let handle: StoreHandle
let holder: postgres.Sql
let watch: postgres.Sql

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  handle = openPostgres({ connection: database.connection, clock: realClock() })
  holder = postgres({ ...database.connection, max: 1 })
  watch = postgres({ ...database.connection, max: 1 })
})
afterAll(async () => {
  await Promise.all([handle.close(), holder.end(), watch.end()])
  await database.drop()
})

/** The database itself is asked until some session of it waits for a lock. */
async function waiting(): Promise<void> {
  for (;;) {
    const [row] = await watch`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    if (row !== undefined) return
  }
}

test('[D42] an append that began before an heir opened the stream writes nothing after it', async () => {
  const bench = new StoreBench({ name: 'Postgres', handle: () => handle })
  const node = await bench.node()
  const { record, claim } = await bench.own(node, 'a')
  const path = 'processes/cart/a/s'
  const opened = await bench.store.openStream(node, {
    process: record.pid,
    claim,
    path,
    contentType: 'application/json',
    turn: null,
  })
  if (opened.kind !== 'open') return expect.fail(`The stream is ${opened.kind}.`)
  const data = new TextEncoder().encode('1')
  const late = { data, reset: false, turn: 't', step: null, attempt: 1 }
  // What an heir's opening does to the row, held until the append waits behind it.
  await holder.unsafe('begin')
  await holder.unsafe('update vivarium.streams set claim = $1::bigint where id = $2::bigint', [
    claim + 1,
    opened.row.id,
  ])
  const running = bench.store.appendStreams(node, [
    { stream: opened.row.id, claim, expected: 0, records: [late], close: false },
  ])
  await waiting()
  await holder.unsafe('commit')
  expect(await running).toEqual([{ kind: 'refused', row: { claim: claim + 1, tail: 0, closed: false } }])
  expect(await bench.store.streamRecords(opened.row.id, 0)).toEqual([])
})

test('[R4] an agent that streams goes on on another node after a kill, and its reader misses nothing', async () => {
  let runs = 0
  const teller = agent('teller', {
    state: () => ({ done: false }),
    on: {
      async tell(ctx) {
        const out = ctx.stream('answer')
        await out.write('one')
        await ctx.step('model', async (info) => {
          const text = info.stream('answer')
          runs += 1
          await text.write(`run ${runs}`)
          await text.flush()
          if (runs === 1) await new Promise(() => {})
        })
        await out.write('end')
        await out.close()
        ctx.state.done = true
      },
    },
  })
  const world = World.postgres(database.connection)
  const first = await world.node('a', [teller])
  const second = await world.node('b', [teller])
  const shown: string[] = []
  const read = (async () => {
    for await (const item of second.core.streams.read('teller/t', 'answer')) {
      shown.push(item.kind === 'chunk' ? String(item.value) : `reset ${item.to}`)
    }
  })()
  await first.send(first.ref(teller, 't').tell())
  await world.until(() => shown.length === 2, 'two chunks at the other node')
  first.kill()
  const { id, epoch } = first.core.node
  await second.core.backend.handle.store.buryNode(second.core.node, { id, epoch }, 'host')
  await world.run(read)
  expect(shown).toEqual(['one', 'run 1', 'reset 1', 'run 2', 'end'])
  await world.close()
})
