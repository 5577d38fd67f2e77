/** What turns derive after a rewind: nothing of it is what they would have derived before (PROTOCOL T4). */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { replayTurns } from '../../server/host/replay.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { idempotencyKey } from '../../server/journal/step.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:ana' }
const HOUR = 3_600_000

let world: World
let opened: ReturnType<typeof gate>
/** What turns derived, in order. */
let derived: { turn: string | null; uuid: string; step: string; timer: string; ref: string }[]
/** Uuids of attempts that crashed. */
let tried: string[]
let failing: boolean
beforeEach(() => {
  world = World.memory()
  opened = gate()
  derived = []
  tried = []
  failing = false
})
afterEach(() => world.close())

const shelf = agent('shelf', {
  state: () => ({ from: [] as (string | null)[] }),
  on: { put: (ctx) => void ctx.state.from.push(ctx.message.id) },
})
const mill = agent('mill', {
  state: () => ({ n: 0, seen: [] as string[] }),
  on: {
    add: (ctx) => ++ctx.state.n,
    fill: (ctx, text: string) => void ctx.state.seen.push(text),
    /** Fails without a step: nothing of it is in the journal but that it failed. */
    risky(ctx) {
      tried.push(ctx.uuid())
      if (failing) throw new Error('not yet')
      return ctx.uuid()
    },
    async derive(ctx) {
      const uuid = ctx.uuid()
      ctx.send(ctx.ref(shelf, 's').put())
      const timer = ctx.after(HOUR, 'add')
      ctx.spawn(shelf)
      const ref = ctx.monitor('shelf/s')
      const step = await ctx.step(`key of ${uuid}`, ({ idempotencyKey: key }) => key)
      derived.push({ turn: ctx.message.id, uuid, step, timer, ref })
      await ctx.step('hold', () => opened.promise)
      return uuid
    },
  },
  maxAttempts: 9,
})

const branchOf = async (node: TestNode): Promise<number> =>
  (await node.core.backend.handle.archive.process('default', 'mill/k'))?.branch ?? -1

/** A process that was rewound once, in the branch of that row. */
async function rewound(): Promise<{ node: TestNode; branch: number }> {
  const node = await world.node('a', [mill, shelf])
  for (let i = 0; i < 2; i++) await node.call(node.ref(mill, 'k').add())
  expect(await branchOf(node)).toBe(0)
  await node.call(node.control.rewind('mill/k', 1, act))
  return { node, branch: 3 }
}

async function derive(node: TestNode, target = 'mill/k'): Promise<(typeof derived)[number]> {
  const count = derived.length
  await node.send(node.ref(mill, target.slice('mill/'.length)).derive())
  await world.until(() => derived.length > count, 'the turn')
  const last = derived.at(-1)
  if (last === undefined) throw new Error('Nothing was derived.')
  return last
}

function expectBranch({ turn, uuid, step, timer, ref }: (typeof derived)[number], branch: number): void {
  const name = branch === 0 ? turn : `${turn}~${branch}`
  expect(step).toBe(idempotencyKey(turn ?? '', branch, `key of ${uuid}#0`))
  expect([timer, ref]).toEqual([`${name}.1`, `${name}.monitor:shelf/s#0`])
}

test('[E3] a rewind allocates a branch, an edit does not; each rewind one of its own', async () => {
  const { node, branch } = await rewound()
  expect(await branchOf(node)).toBe(branch)
  expect((await node.journal('mill/k')).at(-1)).toMatchObject({ k: 'edited', to: 1, branch })
  await node.call(node.control.editState('mill/k', { n: 7, seen: [] }, { ...act, expectedVersion: 3 }))
  expect(await branchOf(node)).toBe(branch)
  await node.call(node.control.rewind('mill/k', 1, act))
  expect(await branchOf(node)).toBe(5)
})

test('[E3][E6] ids, keys and random numbers after a rewind are of its branch', async () => {
  const { node, branch } = await rewound()
  const seen = await derive(node)
  expectBranch(seen, branch)
  opened.open()
  const name = `${seen.turn}~${branch}`
  await world.until(() => node.written().some((entry) => entry.k === 'end' && entry.turn === seen.turn), 'the end')
  const row = node.faults.committed.findLast(({ id, timers }) => id === 'mill/k' && timers !== undefined)
  expect(row?.messages?.map(({ id }) => id)).toContain(`${name}.1`)
  expect(row?.spawns?.map(({ key }) => key)).toEqual([`${name}.2`])
})

test('[E6] a message that is tried again after a rewind sees other random numbers than before it', async () => {
  const { node } = await rewound()
  failing = true
  await node.send(node.ref(mill, 'k').risky())
  await world.until(() => tried.length === 2, 'two attempts')
  expect(new Set(tried).size).toBe(1)
  await world.until(() => node.core.kernel.find('mill/k')?.status === 'restarting')
  await node.call(node.control.rewind('mill/k', 1, act))
  failing = false
  await world.until(() => tried.length === 3, 'the third attempt')
  expect(new Set(tried).size).toBe(2)
})

test('[E6] the branch is the same over a crash, on another node, and below a snapshot', async () => {
  const { node: a, branch } = await rewound()
  for (let i = 0; i < 200; i++) await a.call(a.ref(mill, 'k').fill(`${i} ${'long '.repeat(40)}`))
  const first = await derive(a)
  a.kill()
  const b = await world.node('b', [mill, shelf])
  await world.until(() => derived.length === 2, 'the replay')
  expect(derived[1]).toEqual(first)
  expectBranch(first, branch)
  opened.open()
  await world.until(() => b.core.kernel.find('mill/k')?.current === null)
  expectBranch(await derive(b), branch)
  expect(b.seen('process:diverge')).toEqual([])
})

test('[E6] a retry after a rewind, and a rewind after that, have branches that nothing had before', async () => {
  const { node, branch } = await rewound()
  expectBranch(await derive(node), branch)
  await node.call(node.control.retryTurn('mill/k', act))
  await world.until(() => derived.length === 2)
  expectBranch(derived[1] as (typeof derived)[number], branch + 1)
  opened.open()
  await world.until(() => node.core.kernel.find('mill/k')?.current === null)
  await node.call(node.control.rewind('mill/k', 1, act))
  expect(await branchOf(node)).toBeGreaterThan(branch + 1)
  expectBranch(await derive(node), await branchOf(node))
})

test('[E7] an exported process goes on in its branch where it is imported', async () => {
  const { node: a, branch } = await rewound()
  const file = await world.run(new RuntimeInspect(a.core).exportProcess('mill/k'))
  const elsewhere = World.memory()
  const b = await elsewhere.node('b', [mill, shelf])
  await elsewhere.run(b.control.importProcess(JSON.parse(JSON.stringify(file)), act))
  await elsewhere.run(b.send(b.ref(mill, 'k').derive()))
  await elsewhere.until(() => derived.length === 1)
  expectBranch(derived[0] as (typeof derived)[number], branch)
  opened.open()
  await elsewhere.close()
})

test('[E7] recorded turns of a branch are the same under the same code', async () => {
  const { node } = await rewound()
  await derive(node)
  opened.open()
  await world.until(() => node.core.kernel.find('mill/k')?.current === null)
  const recorded = await world.run(new RuntimeInspect(node.core).recorded('mill/k'))
  const { turns } = await replayTurns(recorded, { agents: [mill, shelf] })
  expect(turns).toMatchObject([{ op: 'derive', outcome: { kind: 'same' } }])
})

test.each(['before', 'after'] as const)(
  '[E6] a node that dies %s a rewind: branch and state go together',
  async (when) => {
    const a = await world.node('a', [mill, shelf])
    for (let i = 0; i < 2; i++) await a.call(a.ref(mill, 'k').add())
    a.faults.next('commit', { kind: 'die', when })
    void a.control.rewind('mill/k', 1, act)
    await world.until(() => a.dead)
    const b = await world.node('b', [mill, shelf])
    expectBranch(await derive(b), when === 'before' ? 0 : 3)
    expect(await b.stored('mill/k')).toMatchObject({ n: when === 'before' ? 2 : 1 })
  },
)
