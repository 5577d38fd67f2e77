/** The control connection: session locks as proof of life, hints, and both again after the connection was lost. */
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import type { ControlConnection } from '../../server/store/control.ts'
import { migrate } from '../../server/store/migrate.ts'
import { openControl } from '../../server/store/postgres/control.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { NodeIdentity, StoreHandle } from '../../server/store/store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { StoreBench } from '../support/store-world.ts'

let database: TestDatabase
let handle: StoreHandle
let admin: postgres.Sql
let open: ControlConnection[] = []

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  handle = openPostgres({ connection: database.connection, clock: realClock() })
  admin = postgres({ ...database.connection, max: 1 })
})
afterEach(async () => {
  await Promise.all(open.map((control) => control.close()))
  open = []
})
afterAll(async () => {
  await Promise.all([handle.close(), admin.end()])
  await database.drop()
})

/** A control connection that collects its hints and can be waited on. */
class Listener {
  readonly control = openControl({ connection: database.connection, clock: realClock() })
  #heard: (readonly string[])[] = []
  #wake: () => void = () => undefined

  async join(node: NodeIdentity): Promise<this> {
    open.push(this.control)
    await this.control.join(node, (targets) => {
      this.#heard.push(targets)
      this.#wake()
    })
    return this
  }

  /** The next hint, heard already or still to come. */
  async next(): Promise<readonly string[]> {
    for (;;) {
      const first = this.#heard.shift()
      if (first !== undefined) return first
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

const setUp = async () => {
  const bench = new StoreBench({ name: 'Postgres', handle: () => handle })
  return { bench, node: await bench.node(), other: await bench.node() }
}

/** The server notices a closed socket when it reads from it; asked until it did. */
async function gone(control: ControlConnection, node: NodeIdentity): Promise<void> {
  while ((await control.sessionGone(node)) !== true);
}

test('[D16] a session is gone only if it was there: not before joining, not while joined', async () => {
  const { bench, node, other } = await setUp()
  const mine = await new Listener().join(other)
  expect(await mine.control.sessionGone(node)).toBeNull()
  expect(await bench.store.buryNode(other, node, 'session')).toBe(false)
  const theirs = await new Listener().join(node)
  expect(await mine.control.sessionGone(node)).toBe(false)
  expect(await bench.store.buryNode(other, node, 'session')).toBe(false)
  await theirs.control.close()
  await gone(mine.control, node)
  expect(await bench.store.buryNode(other, node, 'session')).toBe(true)
  expect(await mine.control.sessionGone(node)).toBeNull()
})

test('[D16] who cannot ask cannot judge', async () => {
  const { node } = await setUp()
  const { control } = await new Listener().join(node)
  await control.close()
  expect(await control.sessionGone(node)).toBeNull()
})

test('[D16] hints reach the node they are for, and nobody else', async () => {
  const { node, other } = await setUp()
  const [mine, theirs] = [await new Listener().join(node), await new Listener().join(other)]
  mine.control.hint(other.id, 'cart/a')
  mine.control.hint(other.id, 'cart/é "quoted"')
  expect(await theirs.next()).toEqual(['cart/a', 'cart/é "quoted"'])
  theirs.control.hint(node.id, 'cart/b')
  expect(await mine.next()).toEqual(['cart/b'])
})

test('[D16] more hints than one notification holds arrive in several', async () => {
  const { node, other } = await setUp()
  const [mine, theirs] = [await new Listener().join(node), await new Listener().join(other)]
  const targets = Array.from({ length: 200 }, (_, i) => `cart/${i}${'x'.repeat(100)}`)
  for (const target of targets) mine.control.hint(other.id, target)
  const heard: string[] = []
  while (heard.length < targets.length) heard.push(...(await theirs.next()))
  expect(heard).toEqual(targets)
})

test('[D16] a lost control connection comes back with its lock and its hints', async () => {
  const { node, other } = await setUp()
  const [mine, theirs] = [await new Listener().join(node), await new Listener().join(other)]
  await admin`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'vivarium control'`
  // Both say "look for yourself" once they listen again.
  expect(await mine.next()).toEqual([])
  expect(await theirs.next()).toEqual([])
  expect(await mine.control.sessionGone(other)).toBe(false)
  mine.control.hint(other.id, 'cart/a')
  expect(await theirs.next()).toEqual(['cart/a'])
})
