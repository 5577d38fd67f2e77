/** The doctor: what it finds, what it says to do, and that a healthy system has nothing to say. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { diagnose, doctorFacts } from '../../server/host/doctor.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { createApp } from '../../server/http/app.ts'
import { openMemory } from '../../server/store/memory.ts'
import type { Finding } from '../../shared/doctor.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'
import { message } from '../support/store-world.ts'

const ACT = { actor: 'operator:ana' }
let world: World
let door = gate()
let firstStep = 'one'
beforeEach(() => {
  world = World.memory()
  door = gate()
  firstStep = 'one'
})
afterEach(() => world.close())

const worker = agent('worker', {
  state: () => ({ n: 0 }),
  maxAttempts: 2,
  on: {
    add: (ctx) => {
      ctx.state.n += 1
    },
    fail: () => {
      throw new Error('no luck')
    },
    async wait(ctx) {
      await ctx.step(firstStep, () => null)
      await ctx.step('second', () => door.promise)
    },
    nap: (ctx) => ctx.sleep(24 * 60 * 60_000),
    tick: () => {},
    arm: (ctx) => void ctx.after(1_000, 'tick', null, { name: 'alarm' }),
  },
})
const other = agent('other', { state: () => ({}), on: {} })

async function examine(node: TestNode): Promise<Finding[]> {
  const inspect = new RuntimeInspect(node.core)
  const { findings, ok } = await inspect.doctor()
  expect(ok).toBe(findings.every(({ severity }) => severity === 'notice'))
  inspect.close()
  return findings
}

const kinds = (findings: Finding[]) => findings.map(({ kind, process }) => `${kind} ${process ?? ''}`.trim())

/** As `viv doctor` sees the tables while no runtime runs. */
async function examineTables(): Promise<Finding[]> {
  return diagnose(await doctorFacts(openMemory(world.db ?? expect.fail()), 'default'), null).findings
}

test('[G1] a system that works has nothing to say, also while a turn is long', async () => {
  const node = await world.node('a', [worker])
  await node.call(node.send(node.ref(worker, 'x').add()))
  await node.start(node.ref(worker, 'long').wait())
  await world.advance(30_000)
  expect(await examine(node)).toEqual([])
})

test('[G1] a message for an agent that no node has says which agent is missing', async () => {
  const node = await world.node('a', [worker])
  await node.core.backend.handle.store.enqueue(node.core.node, [message('m', 'ghost/k', { op: 'boo' })])
  await world.advance(30_000)
  const [found, ...rest] = await examine(node)
  expect(rest).toEqual([])
  expect(found).toMatchObject({ kind: 'unowned', severity: 'critical', process: 'ghost/k' })
  expect(found?.why).toContain('no live node has the agent ghost')
  expect(found?.todo).toContain('viv start')
})

test('[G1] what an operator holds is a notice, and a warning once work waits for it', async () => {
  const node = await world.node('a', [worker])
  await node.call(node.ref(worker, 'x').add())
  await world.run(node.control.suspend('worker/x', ACT))
  expect((await examine(node))[0]).toMatchObject({ kind: 'suspended', severity: 'notice', todo: 'viv resume worker/x' })
  await node.call(node.ref(worker, 'y').add())
  await world.run(node.control.stop('worker/y', ACT))
  await node.core.backend.handle.store.enqueue(node.core.node, [message('m', 'worker/y', { op: 'add' })])
  const stopped = (await examine(node)).find(({ process }) => process === 'worker/y')
  expect(stopped).toMatchObject({ kind: 'stopped', severity: 'warning', todo: 'viv restart worker/y' })
})

test('[G1] a long wait says for what and since when, a parked turn what diverged', async () => {
  const node = await world.node('a', [worker])
  await node.start(node.ref(worker, 'x').wait())
  await world.advance(90_000)
  const [waiting] = await examine(node)
  expect(waiting).toMatchObject({ kind: 'waiting', process: 'worker/x', severity: 'warning' })
  expect(waiting?.why).toContain('step second')
  expect(world.clock.now() - (waiting?.since ?? 0)).toBeGreaterThan(60_000)
  node.kill()
  firstStep = 'renamed'
  const next = await world.node('b', [worker])
  await world.until(async () => kinds(await examine(next)).includes('diverged worker/x'))
  const found = (await examine(next)).find(({ kind }) => kind === 'diverged')
  expect(found).toMatchObject({ severity: 'critical', todo: expect.stringContaining('viv resume worker/x') })
})

test('[G1] what waits behind a turn that left memory to wait is a notice, not lost work', async () => {
  const node = await world.node('a', [worker])
  await node.start(node.ref(worker, 'x').nap())
  await world.until(() => node.core.kernel.find('worker/x') === undefined, 'the turn leaves memory')
  await node.core.backend.handle.store.enqueue(node.core.node, [message('m', 'worker/x', { op: 'add' })])
  await world.advance(120_000)
  const [found, ...rest] = await examine(node)
  expect(rest).toEqual([])
  expect(found).toMatchObject({ kind: 'waiting', severity: 'notice', process: 'worker/x' })
  expect(found?.why).toMatch(/waits for sleep and has 2 messages.*none of them wakes it/)
})

test('[G1] a process that fails again and again, and its dead letters, are told once each', async () => {
  const node = await world.node('a', [worker])
  for (let i = 0; i < 2; i++) await node.call(node.send(node.ref(worker, 'x').fail()))
  const { archive } = node.core.backend.handle
  await world.until(async () => (await archive.deadLetters('default', { limit: 9 })).length === 2)
  const findings = await examine(node)
  expect(kinds(findings).sort()).toEqual(['dead-letter worker/x', 'loop worker/x'])
  expect(findings.find(({ kind }) => kind === 'loop')?.why).toContain('no luck')
})

test('[G1] claims that a dead node left are told while no node with their code takes them', async () => {
  const node = await world.node('a', [worker])
  await node.start(node.ref(worker, 'x').wait())
  node.kill()
  const next = await world.node('b', [other])
  await world.until(async () => kinds(await examine(next)).includes('dead-node'))
  const [found] = (await examine(next)).filter(({ kind }) => kind === 'dead-node')
  expect(found?.why).toMatch(/^Node 1 is dead and still owns \d+ processes/)
})

test('[G2] without a node everything that waits needs one, timers too', async () => {
  const node = await world.node('a', [worker])
  await node.call(node.ref(worker, 'x').arm())
  await node.stop()
  await world.advance(60_000)
  const found = await examineTables()
  expect(kinds(found).sort()).toEqual(['no-node', 'overdue worker/x'])
  expect(found.every(({ todo }) => todo.startsWith('viv start'))).toBe(true)
})

test('[G1] over HTTP it is the same list', async () => {
  const node = await world.node('a', [worker])
  const inspect = new RuntimeInspect(node.core)
  const app = createApp({ inspect, control: node.control, web: false })
  const response = await app.request('/api/v1/doctor', { headers: { host: '127.0.0.1:4711' } })
  expect(await response.json()).toEqual({ at: world.clock.now(), ok: true, findings: [] })
  inspect.close()
})
