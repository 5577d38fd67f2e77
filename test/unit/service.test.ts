/** The parts of the runtime as hidden processes: when they are listed, what they say, and what they refuse. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Control } from '../../server/control.ts'
import { CostMeter } from '../../server/feed/cost.ts'
import { ProcessSampler } from '../../server/feed/process-sampler.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { createApp } from '../../server/http/app.ts'
import type { ProcessQuery } from '../../server/observe/inspect.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { ledgered } from '../support/tree-world.ts'

const NAMES = [
  'committer',
  'compute',
  'database',
  'feed',
  'models',
  'node',
  'recovery',
  'retention',
  'runtime',
  'snapshots',
  'timers',
  'tree',
  'watchdog',
]
const SERVICES = NAMES.map((name) => `vivarium/${name}`)

let world: World
let node: TestNode
let inspect: RuntimeInspect
beforeEach(async () => {
  world = World.memory()
  node = await world.node('a', [ledgered])
  inspect = new RuntimeInspect(node.core)
})
afterEach(async () => {
  inspect.close()
  await world.close()
})

const ids = async (query: ProcessQuery): Promise<string[]> => (await inspect.processes(query)).items.map(({ id }) => id)
const state = async (name: string) => (await inspect.state(`vivarium/${name}`)).value as Record<string, unknown>

test('[O14] services are listed and counted only where they are asked for', async () => {
  const plain = ['pool/ledgered', 'supervisor/app']
  expect(await ids({})).toEqual(plain)
  expect((await inspect.processes({ limit: 1 })).total).toBe(2)
  for (const q of ['status:idle', 'app', '-kind:agent'])
    expect((await ids({ q })).some((id) => SERVICES.includes(id))).toBe(false)
  expect(await ids({ hidden: true })).toEqual([...plain, ...SERVICES])
  for (const query of [
    { agent: 'vivarium' },
    { under: 'vivarium/runtime' },
    { q: 'kind:service' },
    { q: 'agent:vivarium' },
  ]) {
    expect(await ids(query)).toEqual(SERVICES)
  }
  expect(await ids({ q: 'under:vivarium/runtime' })).toEqual(SERVICES)
  for (const q of [
    'kind=service',
    'kind:"service"',
    'hidden=true',
    'hidden:true',
    'agent:other,vivarium',
    'id:vivarium*',
  ])
    expect(await ids({ q }), q).toEqual(SERVICES)
  for (const q of ['id:vivarium/time*', 'vivarium/timers', '"Vivarium/timers"', 'kind:task,service id:*timers'])
    expect(await ids({ q })).toEqual(['vivarium/timers'])
  for (const q of ['-kind:agent -hidden:false', '-agent:vivarium', 'agent:vivarium-shop', 'time'])
    expect((await ids({ q })).some((id) => SERVICES.includes(id))).toBe(false)
  expect((await inspect.processes({ agent: 'vivarium', limit: 2 })).total).toBe(SERVICES.length)
  expect(inspect.vitals().total).toBe(2)
})

test('[O14] a viewer of the feed sees them when it asks for hidden ones, below their root', async () => {
  const sampler = new ProcessSampler({
    clock: world.clock,
    inspect,
    cost: new CostMeter(world.clock),
    report: (error) => expect.fail(String(error)),
  })
  sampler.start()
  expect(sampler.list({}).ids).toEqual(['supervisor/app', 'pool/ledgered'])
  expect(sampler.list({ hidden: true, under: 'vivarium/runtime' }).ids).toEqual([
    'vivarium/runtime',
    ...SERVICES.filter((id) => id !== 'vivarium/runtime'),
  ])
  sampler.stop()
})

test('[O14] their state is what they do now, their status what they wait for', async () => {
  await node.call(node.ref(ledgered, 'x').add())
  expect(await state('committer')).toMatchObject({ up: true, refused: 0, retries: 0 })
  expect(Number((await state('committer')).rows)).toBeGreaterThan(0)
  expect(await state('node')).toMatchObject({ name: 'a', epoch: node.core.node.epoch, leaseMs: 20_000 })
  expect(await state('tree')).toEqual({ supervisors: 2, owned: 2 })
  const rounds = Number((await state('recovery')).rounds)
  const { renewedAt } = await state('node')
  await world.advance(6_000)
  expect(Number((await state('recovery')).rounds)).toBeGreaterThan(rounds)
  expect(Number((await state('node')).renewedAt)).toBeGreaterThan(Number(renewedAt))
  const end = node.faults.outage()
  void node.ref(ledgered, 'x').add().run().catch(expect.fail)
  await world.until(() => !node.core.layer.committer.up)
  expect(await inspect.process('vivarium/committer')).toMatchObject({
    kind: 'service',
    status: 'waiting',
    parent: 'vivarium/runtime',
  })
  expect(await state('database')).toMatchObject({ up: false, embedded: false })
  end()
  await world.until(() => node.core.layer.committer.up)
  expect(await inspect.process('vivarium/committer')).toMatchObject({ status: 'idle', wait: null })
})

test('[O15] verbs and messages to a service are refused with the reason, and audited', async () => {
  const act = { actor: 'operator:ana' }
  for (const verb of ['kill', 'stop', 'restart', 'suspend', 'resume'] as const) {
    expect(await world.refusal(node.control[verb]('vivarium/committer', act))).toMatchObject({
      code: 'SERVICE_PROTECTED',
      message: expect.stringContaining('part of the runtime'),
    })
  }
  expect(await world.refusal(node.control.send('vivarium/timers', 'op', null, act))).toMatchObject({
    code: 'SERVICE_PROTECTED',
  })
  expect(await world.refusal(inspect.plan('kill', 'vivarium/runtime'))).toMatchObject({ code: 'SERVICE_PROTECTED' })
  const { items } = await inspect.audit({ target: 'vivarium/committer' })
  expect(items.map(({ verb, outcome }) => `${verb} ${outcome}`)).toContain('kill refused: SERVICE_PROTECTED')
  expect(node.core.layer.committer.up).toBe(true)
})

test('[O14] over HTTP they are read like any process', async () => {
  const control: Control = node.control
  const app = createApp({ inspect, control, web: false, report: (error) => expect.fail(String(error)) })
  const get = async (path: string): Promise<{ status: number; body: Record<string, unknown> }> => {
    const response = await app.request(`/api/v1/${path}`, { headers: { host: '127.0.0.1:4711' } })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  expect((await get('processes')).body).toMatchObject({ total: 2 })
  expect((await get('processes?agent=vivarium')).body).toMatchObject({ total: SERVICES.length })
  expect((await get('processes/vivarium%2Fcommitter')).body).toMatchObject({ kind: 'service', hidden: true })
  expect((await get('processes/vivarium%2Fcommitter/state')).body).toMatchObject({ value: { up: true } })
  for (const part of ['mailbox', 'journal']) {
    expect((await get(`processes/vivarium%2Fcommitter/${part}`)).body).toMatchObject({ items: [] })
  }
  expect((await get('processes/vivarium%2Fnothing')).status).toBe(404)
})
