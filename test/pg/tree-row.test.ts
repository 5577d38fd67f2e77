/** Supervisors and pools as rows on a real Postgres: a killed node, a second node, an outage, odd text. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createRuntime } from 'vivarium'
import { agent } from '../../server/definition/agent.ts'
import { type SupervisorDefinition, supervisor } from '../../server/definition/supervisor.ts'
import { testDatabase } from '../support/database.ts'
import { processesBelow, testFolders } from '../support/embedded-folder.ts'
import { World } from '../support/runtime.ts'
import { tallies } from '../support/tally.ts'
import { brittle, crash, journalOf, ledgered, rowOf, supervisorAt, told, treeOf } from '../support/tree-world.ts'

const NODE = fileURLToPath(new URL('../support/tally-node.ts', import.meta.url))

const database = testDatabase()
let world: World
let run = 0

beforeEach(() => {
  world = World.postgres(database.connection)
  run += 1
})
afterEach(() => world.close())

/** All tests of the file share a database. */
const app = (): string => `app-${run}`

function tree(intensity: number, more: SupervisorDefinition['children'] = []): SupervisorDefinition {
  const children = [brittle.spec({ key: 'a' }), ...more]
  return supervisor(app(), { strategy: 'one_for_one', intensity, periodMs: 60_000, children })
}

const start = (name: string, root: SupervisorDefinition) => world.node(name, [brittle, ledgered], { root })

test('[S54] the budget of restarts, children of run time and those taken down outlive a killed node', async () => {
  const root = tree(1, [ledgered.spec({ key: `down-${run}` })])
  const a = await start('a', root)
  const process = a.core.tree.childSpec('ledgered', `extra-${run}`)
  if (process === null) throw new Error('ledgered is known')
  await supervisorAt(a, app()).startChild({ id: 'extra', process })
  expect(await a.call(a.ref(ledgered, `extra-${run}`).add())).toBe(1)
  await supervisorAt(a, app()).terminateChild(`ledgered/down-${run}`)
  await crash(a, 'a')
  await world.until(async () => (await treeOf(a, `supervisor/${app()}`))?.restarts.length === 1)
  a.kill()
  const b = await start('b', root)
  expect(await b.call(b.ref(ledgered, `extra-${run}`).add())).toBe(2)
  expect(await world.refusal(b.ref(ledgered, `down-${run}`).add())).toMatchObject({ code: 'PROCESS_EXITED' })
  await crash(b, 'a')
  await world.until(() => b.seen('supervisor:give-up').length === 1)
})

test('[S56] one of two nodes owns the row; when it is killed the other takes it over with its history', async () => {
  const root = tree(5, [ledgered.spec({ key: `l-${run}` })])
  const a = await start('a', root)
  const b = await start('b', root)
  const id = `supervisor/${app()}`
  await crash(a, 'a')
  await crash(b, 'a')
  await world.until(async () => (await treeOf(a, id))?.restarts.length === 1)
  expect((await rowOf(a, id))?.owner).toBe(a.core.node.id)
  expect(b.faults.trees).toEqual([])
  a.kill()
  await world.until(async () => (await treeOf(b, id))?.restarts.length === 2)
  expect((await rowOf(b, id))?.owner).toBe(b.core.node.id)
  expect((await told(b, id)).filter((note) => note === 'owned').length).toBe(2)
  expect(b.core.kernel.find(id)).toMatchObject({ alive: true, incarnation: 1 })
  await world.until(() => b.core.kernel.find(`ledgered/l-${run}`)?.alive === true)
})

test('[S56] the row of a supervisor that nobody builds any more is laid to rest', async () => {
  const id = `supervisor/${app()}`
  const a = await start('a', tree(1))
  await world.until(async () => (await told(a, id)).includes('up'))
  a.kill()
  run += 1
  const b = await start('b', tree(1))
  await world.until(async () => (await rowOf(b, id))?.owner === null)
  const orphans = await b.core.backend.handle.store.orphans(b.core.node, 1_000)
  expect(orphans.map((orphan) => orphan.id)).not.toContain(id)
  expect(b.seen('log')).toEqual([])
})

test('[S55] an outage stops no tree, and odd text in a reason can be stored', async () => {
  const odd = agent('odd', {
    durability: 'ephemeral',
    state: () => ({}),
    on: {
      crash() {
        throw new Error('nul \u0000 and lone \ud800 surrogate')
      },
    },
  })
  const root = supervisor(app(), { strategy: 'one_for_one', intensity: 9, children: [odd.spec({ key: 'o' })] })
  const a = await world.node('a', [odd], { root })
  const id = `supervisor/${app()}`
  await world.until(async () => (await told(a, id)).includes('up'))
  const end = a.faults.outage()
  await world.refusal(a.ref(odd, 'o').crash())
  await world.until(() => a.core.kernel.find('odd/o')?.incarnation === 2)
  end()
  await world.until(async () => (await told(a, id)).includes('restarted odd/o'))
  expect((await journalOf(a, id)).map((item) => item.summary).join()).toContain('nul \ufffd and lone \ufffd surrogate')
})

test('[S56] a node that is killed by a signal leaves its rows to the one that survives', async () => {
  const folders = testFolders()
  const data = await folders.make()
  const child = fork(NODE, [data], { execArgv: ['--conditions=vivarium-source'] })
  const gone = once(child, 'exit')
  expect(await once(child, 'message')).toEqual(['up', undefined])
  const runtime = await createRuntime({ root: tallies, data })
  try {
    child.kill('SIGKILL')
    await gone
    const owners = async (): Promise<number> => {
      const { items } = await runtime.inspect.journal('supervisor/tallies', {})
      return items.filter((item) => item.summary.includes('took over')).length
    }
    await world.until(async () => (await owners()) === 2)
    expect((await runtime.inspect.state('supervisor/tallies')).value).toMatchObject({ gaveUp: null, restarts: [] })
    expect((await runtime.inspect.journal('pool/tally', {})).items.length).toBeGreaterThan(0)
  } finally {
    await runtime.stop()
    expect(await folders.clear(), 'servers left running').toEqual([])
    expect(await processesBelow(data)).toEqual([])
  }
})
