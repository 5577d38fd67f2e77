/** Files of processes on a living runtime: what comes back, and what is refused. */
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { createApp } from '../../server/http/app.ts'
import { PROCESS_FILE_VERSION } from '../../shared/process-file.ts'
import { encode, type Value } from '../../shared/value.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const ACT = { actor: 'operator:ana' }
let world: World
let door = gate()
let oracle = new Oracle()
beforeEach(() => {
  world = World.memory()
  door = gate()
  oracle = new Oracle()
})
afterEach(() => world.close())

const box = agent('box', {
  state: () => ({ items: [] as unknown[], n: 0 }),
  on: {
    put(ctx, item: unknown) {
      ctx.state.items.push(item)
      ctx.state.n += 1
      return ctx.state.n
    },
    async slow(ctx) {
      await ctx.step('first', () => oracle.hit('first'))
      await ctx.step('second', () => door.promise)
      ctx.state.n += 100
    },
  },
})

const file = (node: TestNode, id: string) => world.run(new RuntimeInspect(node.core).exportProcess(id))

test('[G8] an exported process goes on in another system, byte for byte, its open turn too', async () => {
  const node = await world.node('a', [box])
  for (const item of ['\u0000', '\ud800', new Date(5), new Map([['k', 1]]), 'y'.repeat(100_000)]) {
    await node.call(node.ref(box, 'k').put(item))
  }
  await node.start(node.ref(box, 'k').slow())
  await world.until(() => oracle.count('first') === 1)
  await world.advance(1_000)
  const made = await file(node, 'box/k')
  const before = encode((await node.stored('box/k')) as Value)
  const elsewhere = World.memory()
  const other = await elsewhere.node('b', [box])
  const result = await elsewhere.run(other.control.importProcess(JSON.parse(JSON.stringify(made)), ACT))
  expect(result).toMatchObject({ id: 'box/k', outcome: expect.stringContaining('imported') })
  expect(encode((await other.stored('box/k')) as Value) === before).toBe(true)
  door.open()
  await elsewhere.until(async () => ((await other.stored('box/k')) as { n: number }).n === 105)
  oracle.expectStep('first').once()
  expect(await other.call(other.ref(box, 'k').put('z'))).toBe(106)
  await elsewhere.close()
})

test('[G8] a file that was changed, cut or is newer, a wrong id and a process that exists are refused', async () => {
  const node = await world.node('a', [box])
  await node.call(node.ref(box, 'k').put(1))
  const made = await file(node, 'box/k')
  const refused = async (given: unknown, more: { as?: string; replace?: boolean } = {}) =>
    (await world.refusal(node.control.importProcess(given, { ...ACT, ...more }))).code
  expect(await refused({ ...made, body: { ...made.body, seq: made.body.seq + 1 } })).toBe('FILE_INVALID')
  expect(await refused({ ...made, version: PROCESS_FILE_VERSION + 1 })).toBe('FILE_INVALID')
  expect(await refused('text')).toBe('FILE_INVALID')
  // Its checksum fits, and a large value in it does not: it would be that of every process with this hash.
  const body = { ...made.body, blobs: [{ hash: 'ab'.repeat(32), value: '"forged"' }] }
  const checksum = createHash('sha256').update(JSON.stringify(body)).digest('hex')
  expect(await refused({ ...made, body, checksum }, { as: 'box/forged' })).toBe('FILE_INVALID')
  expect(await refused(made, { as: 'other/k' })).toBe('REQUEST_INVALID')
  expect(await refused(made)).toBe('PROCESS_EXISTS')
  expect(await refused(made, { replace: true })).toBe('PROCESS_EXISTS')
  expect((await world.refusal(new RuntimeInspect(node.core).exportProcess('box/none'))).code).toBe('PROCESS_NOT_FOUND')
})

test('[G8] over HTTP a copy is made under another id, and audited', async () => {
  const node = await world.node('a', [box])
  await node.call(node.ref(box, 'k').put(1))
  const inspect = new RuntimeInspect(node.core)
  const app = createApp({ inspect, control: node.control, web: false })
  const headers = { host: '127.0.0.1:4711', 'content-type': 'application/json' }
  const made = await (await app.request('/api/v1/processes/box%2Fk/export', { headers })).json()
  const body = JSON.stringify({ file: made, as: 'box/copy', reason: 'a look' })
  const response = await app.request('/api/v1/import', { method: 'POST', headers, body })
  expect(await response.json()).toMatchObject({ id: 'box/copy', outcome: expect.stringContaining('imported') })
  expect(await node.call(node.ref(box, 'copy').put(2))).toBe(2)
  expect(await node.call(node.ref(box, 'k').put(2))).toBe(2)
  const { items } = await inspect.audit({ target: 'box/copy' })
  expect(items).toMatchObject([{ verb: 'import', actor: expect.any(String), reason: 'a look' }])
  inspect.close()
})
