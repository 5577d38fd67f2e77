/** dbos-conformance on a real Postgres: what operators, downtime, new code and a lost database do to work outside. */
import postgres from 'postgres'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { migrate } from '../../server/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'
import { type Filing, filingAgent, type Order, Outside } from './filing.ts'

const START = { idempotencyKey: 'file' }
const ANA = { actor: 'operator:ana' }
/** Long enough that only a callback or an operator ends the wait. */
const LONG: Order = { plan: 'lazy', waitMs: 60_000 }

let database: TestDatabase
let world: World
let outside: Outside
let filing: ReturnType<typeof filingAgent>

// A database of its own for each test: what one leaves open would be taken over by the next one's nodes.
beforeEach(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  world = World.postgres(database.connection)
  outside = new Outside()
  filing = filingAgent(outside)
})
afterEach(async () => {
  await world.close()
  await database.drop()
})

const file = (node: TestNode, id: string, order: Order = LONG) => node.start(node.ref(filing, id).file(order), START)
const state = async (node: TestNode, id: string) => (await node.stored(`filing/${id}`)) as Filing
const until = (id: string, status: string) => world.until(() => outside.books.state(id) === status, `${status} ${id}`)
const decide = async (node: TestNode, id: string): Promise<void> => {
  outside.authority.decide(id, 'accepted')
  await node.send(node.ref(filing, id).callback({ key: 'decision', outcome: 'accepted' }))
}
const parked = (node: TestNode, id: string) =>
  world.until(() => node.core.kernel.find(`filing/${id}`) === undefined, `the parking of ${id}`)

test('[L2] dbos-conformance: cancellation', async () => {
  const a = await world.node('a', [filing])
  // The authority decides and calls back while the filing is stopped.
  await file(a, 'cn3')
  await until('cn3', 'submitted')
  await parked(a, 'cn3')
  await a.control.stop('filing/cn3', ANA)
  await decide(a, 'cn3')
  await world.advance(1_200)
  expect([outside.books.state('cn3'), (await state(a, 'cn3'))?.status ?? 'new']).toEqual(['submitted', 'new'])
  await a.control.resume('filing/cn3', ANA)
  await until('cn3', 'accepted')
  // Stopped in the middle of the request, after its effect.
  let sent = 0
  outside.at = (id, place) => (id === 'cn4' && place === 'sent' && ++sent === 1 ? new Promise(() => {}) : undefined)
  await file(a, 'cn4')
  await world.until(() => sent === 1)
  await a.control.suspend('filing/cn4', ANA)
  await a.control.kill('filing/cn4', ANA)
  outside.authority.decide('cn4', 'accepted')
  await world.advance(1_200)
  expect([outside.books.state('cn4'), sent]).toEqual(['submitting', 1])
  await a.control.resume('filing/cn4', ANA)
  await until('cn4', 'submitted')
  await decide(a, 'cn4')
  await until('cn4', 'accepted')
  expect([outside.authority.attempts, outside.authority.recorded, outside.authority.duplicates]).toEqual([2, 2, 0])
})

test('[L2] dbos-conformance: schedule downtime', async () => {
  const oracle = new Oracle()
  const clerk = agent('clerk', {
    state: () => ({ ticks: 0 }),
    on: {
      async tick(ctx) {
        const due = await ctx.step('due', () => outside.books.open())
        for (const id of due) await ctx.start(filing, id, 'file', { plan: 'ok', waitMs: 20 }, START)
        ctx.state.ticks += 1
        ctx.after(150, 'tick', null, { name: 'tick' })
        oracle.hit('tick')
      },
    },
  })
  const a = await world.node('a', [filing, clerk])
  // Its event was lost; only the schedule finds it.
  outside.books.due('sc1')
  await a.send(a.ref(clerk, 'c').tick())
  await until('sc1', 'accepted')
  await a.stop()
  outside.books.due('sc2')
  const ticks = oracle.count('tick')
  await world.advance(500)
  expect([oracle.count('tick') - ticks, outside.books.state('sc2')]).toEqual([0, 'ready'])
  const b = await world.node('b', [filing, clerk])
  await until('sc2', 'accepted')
  await world.until(() => oracle.count('tick') >= ticks + 3)
  expect([outside.authority.attempts, outside.authority.recorded]).toEqual([2, 2])
  const stored = async () => ((await b.stored('clerk/c')) as { ticks: number }).ticks
  await world.until(async () => (await stored()) === oracle.count('tick'), 'a tick that counted once')
})

test('[L2] dbos-conformance: code upgrade', async () => {
  const a = await world.node('a', [filing])
  await file(a, 'up1')
  await until('up1', 'submitted')
  a.kill()
  // The same agent, with a step more in the middle of the work.
  filing = filingAgent(outside, { risk: true })
  const b = await world.node('b', [filing])
  await decide(b, 'up1')
  await until('up1', 'accepted')
  await file(b, 'up2')
  await until('up2', 'submitted')
  await decide(b, 'up2')
  await until('up2', 'accepted')
  expect(outside.passed.filter((line) => line.endsWith('risk'))).toEqual(['up2 risk'])
  expect([outside.authority.attempts, outside.authority.recorded]).toEqual([2, 2])
})

test('[L2] dbos-conformance: database loss', async () => {
  const admin = postgres({ ...inject('postgres').connection, max: 1, onnotice: () => undefined })
  const name = database.connection.database
  const backup = `${name}_backup`
  const first = await world.node('a', [filing])
  expect(await (await file(first, 'r1', { plan: 'ok', waitMs: 20 })).result()).toBe('accepted')
  await world.close()
  await admin`create database ${admin(backup)} template ${admin(name)}`
  // After the backup: one that waits for its decision, and one whose node dies with the request done and not stored.
  world = World.postgres(database.connection)
  const second = await world.node('b', [filing])
  await file(second, 'r3')
  await until('r3', 'submitted')
  outside.at = (id, place) => {
    if (id !== 'r2' || place !== 'sent' || second.dead) return undefined
    second.kill()
    return new Promise(() => {})
  }
  await file(second, 'r2')
  await world.until(() => second.dead)
  await world.close()
  await admin`drop database ${admin(name)} with (force)`
  await admin`alter database ${admin(backup)} rename to ${admin(name)}`
  for (const id of ['r2', 'r3']) outside.authority.decide(id, 'accepted')
  // Everything the product holds open is started again under its key.
  const reconcile = async (node: TestNode): Promise<string[]> => {
    const open = outside.books.open()
    await Promise.all(open.map(async (id) => (await file(node, id, { plan: 'lazy', waitMs: 20 })).result()))
    return open
  }
  world = World.postgres(database.connection)
  const third = await world.node('c', [filing])
  expect((await reconcile(third)).sort()).toEqual(['r2', 'r3'])
  expect(await state(third, 'r1')).toMatchObject({ status: 'accepted' })
  expect((await file(third, 'r1', { plan: 'ok', waitMs: 20 })).created).toBe(false)
  expect(await reconcile(third)).toEqual([])
  // The same with nothing left at all.
  await file(third, 'r4')
  await until('r4', 'submitted')
  third.kill()
  await world.close()
  await admin`drop database ${admin(name)} with (force)`
  await admin`create database ${admin(name)} template template0`
  await migrate(database.connection)
  outside.authority.decide('r4', 'accepted')
  world = World.postgres(database.connection)
  const fourth = await world.node('d', [filing])
  expect(await reconcile(fourth)).toEqual(['r4'])
  expect(await reconcile(fourth)).toEqual([])
  const { attempts, recorded, duplicates } = outside.authority
  expect([attempts, recorded, duplicates]).toEqual([4, 4, 0])
  for (const id of ['r1', 'r2', 'r3', 'r4']) expect(outside.books.state(id)).toBe('accepted')
  await admin.end()
})

test('[L2] dbos-conformance: late resolution', async () => {
  const [a, b] = [await world.node('a', [filing]), await world.node('b', [filing])]
  const handle = await file(a, 'lr1', { plan: 'lazy', waitMs: 20 })
  expect(await handle.result()).toBe('needs_review')
  const { applied } = outside.books
  await decide(b, 'lr1')
  await until('lr1', 'accepted')
  // Again by whoever asks, and by a second schedule: nothing is sent and nothing is applied twice.
  await decide(a, 'lr1')
  await b.ref(filing, 'lr1').callback({ key: 'schedule', outcome: 'accepted' })
  expect(outside.books.applied - applied).toBe(1)
  expect([outside.authority.attempts, outside.authority.recorded]).toEqual([1, 1])
  expect(await state(a, 'lr1')).toMatchObject({ status: 'accepted', callbacks: ['decision', 'schedule'] })
})

test('[L2] dbos-conformance: reconciliation health', async () => {
  const a = await world.node('a', [filing])
  const inspect = new RuntimeInspect(a.core)
  await file(a, 'rh2')
  await until('rh2', 'submitted')
  await parked(a, 'rh2')
  await a.control.stop('filing/rh2', ANA)
  // Asking for it again does not undo what an operator decided; the doctor says who holds it.
  const again = await file(a, 'rh2')
  expect(again.created).toBe(false)
  await world.advance(1_200)
  const { findings } = await inspect.doctor()
  expect(findings.some(({ process, kind }) => process === 'filing/rh2' && kind === 'stopped')).toBe(true)
  expect([outside.books.state('rh2'), outside.authority.attempts]).toEqual(['submitted', 1])
  await a.control.resume('filing/rh2', ANA)
  await decide(a, 'rh2')
  expect(await again.result()).toBe('accepted')
  // A finished operation cannot hide that the product has no decision: both are read, and differ.
  expect(await (await file(a, 'rh4', { plan: 'lazy', waitMs: 20 })).result()).toBe('needs_review')
  expect([(await state(a, 'rh4')).status, outside.authority.status('rh4')]).toEqual(['needs_review', 'processing'])
  inspect.close()
})
