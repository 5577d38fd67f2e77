/** What edits and retries are to whoever reads the journal: activations, exports, recorded turns, pruning. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { replayTurns } from '../../server/host/replay.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:ana' }

let world: World
let opened: ReturnType<typeof gate>
let ran: string[]
beforeEach(() => {
  world = World.memory()
  opened = gate()
  ran = []
})
afterEach(() => world.close())

const step = (name: string): string => {
  ran.push(name)
  return name
}
const mill = agent('mill', {
  state: () => ({ log: [] as string[] }),
  on: {
    async grind(ctx) {
      const place = ctx.uuid()
      for (const name of ['a', 'b']) await ctx.step(`${name} ${place}`, () => step(name))
      await ctx.step('hang', () => opened.promise)
      ctx.state.log.push(`${place} ${ctx.uuid()}`)
    },
    add: (ctx, text: string) => void ctx.state.log.push(text),
  },
})

async function retried(): Promise<TestNode> {
  const a = await world.node('a', [mill])
  await a.call(a.ref(mill, 'k').add('first'))
  await a.call(a.control.rewind('mill/k', 1, act))
  await a.send(a.ref(mill, 'k').grind())
  await world.until(() => a.core.kernel.find('mill/k')?.wait?.target === 'hang')
  await a.call(a.control.retryTurn('mill/k', { ...act, step: 2 }))
  await world.until(() => a.core.kernel.find('mill/k')?.wait?.target === 'hang' && ran.length === 3)
  return a
}

test('[E7] an exported process goes on elsewhere with what its retry kept', async () => {
  const a = await retried()
  const file = await world.run(new RuntimeInspect(a.core).exportProcess('mill/k'))
  const elsewhere = World.memory()
  const b = await elsewhere.node('b', [mill])
  await elsewhere.run(b.control.importProcess(JSON.parse(JSON.stringify(file)), act))
  await elsewhere.until(() => b.core.kernel.find('mill/k')?.wait?.target === 'hang')
  expect(ran).toEqual(['a', 'b', 'b'])
  opened.open()
  const logOf = (node: TestNode) => async () => ((await node.stored('mill/k')) as { log: string[] }).log.length === 2
  await world.until(logOf(a))
  await elsewhere.until(logOf(b))
  expect(await b.stored('mill/k')).toEqual(await a.stored('mill/k'))
  expect(b.seen('process:diverge')).toEqual([])
  await elsewhere.close()
})

test('[E7] recorded turns with a retry are the same under the same code, open and finished', async () => {
  const a = await retried()
  const recorded = () => world.run(new RuntimeInspect(a.core).recorded('mill/k'))
  const open = await replayTurns(await recorded(), { agents: [mill] })
  expect(open.turns).toMatchObject([{ open: true, results: 2, outcome: { kind: 'same' } }])
  opened.open()
  await world.until(async () => ((await a.stored('mill/k')) as { log: string[] }).log.length === 2)
  const finished = await replayTurns(await recorded(), { agents: [mill] })
  expect(finished.turns).toMatchObject([{ open: false, results: 3, outcome: { kind: 'same' } }])
  expect(finished.ok).toBe(true)
})

test('[E7] versions of edits and rewinds are read like any other, before and after a snapshot', async () => {
  const a = await world.node('a', [mill])
  const inspect = new RuntimeInspect(a.core)
  for (const text of ['x', 'y']) await a.call(a.ref(mill, 'k').add(text))
  await a.call(a.control.editState('mill/k', { log: ['edited'] }, { ...act, expectedVersion: 2 }))
  await a.call(a.control.rewind('mill/k', 1, act))
  for (let i = 0; i < 200; i++) await a.call(a.ref(mill, 'k').add(`${i} ${'long '.repeat(40)}`))
  const at = async (version: number) =>
    ((await world.run(inspect.state('mill/k', { version }))).value as { log: string[] }).log
  expect(await at(2)).toEqual(['x', 'y'])
  expect(await at(3)).toEqual(['edited'])
  expect(await at(4)).toEqual(['x'])
  expect((await at(204)).length).toBe(201)
  a.kill()
  const b = await world.node('b', [mill])
  await b.call(b.ref(mill, 'k').add('end'))
  expect(((await b.stored('mill/k')) as { log: string[] }).log).toHaveLength(202)
})

test('[E3] a version that retention took is refused with the oldest that is there', async () => {
  const short = agent('short', {
    state: () => ({ n: 0, text: '' }),
    on: {
      add: (ctx, text: string) => {
        ctx.state.n += 1
        ctx.state.text = text
      },
    },
    retention: { maxAgeMs: 60 * 60 * 1_000 },
  })
  const a = await world.node('a', [short])
  for (let i = 0; i < 60; i++) await a.call(a.ref(short, 'k').add(`${i} ${'x'.repeat(2_000)}`))
  const first = async (): Promise<number> => {
    const record = await a.core.backend.handle.archive.process('default', 'short/k')
    return a.core.backend.handle.archive.oldestState(record?.pid ?? 0)
  }
  expect(await first()).toBe(1)
  await world.advance(2 * 60 * 60 * 1_000)
  const oldest = await first()
  expect(oldest).toBeGreaterThan(1)
  const refused = await world.refusal(a.control.rewind('short/k', 1, act))
  expect(refused).toMatchObject({ code: 'VERSION_NOT_KEPT', detail: { oldest } })
  expect(refused.message).toContain(`The oldest that is kept is ${oldest}.`)
  await a.call(a.control.rewind('short/k', oldest, act))
  expect((await world.refusal(a.control.rewind('short/k', oldest - 1, act))).code).toBe('VERSION_NOT_KEPT')
})
