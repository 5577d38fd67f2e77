/**
 * Random faults on a seeded world: nodes are killed and started, answers get lost, statements fail, hang or are refused
 * by contention, while transfers run between accounts. Then the faults stop and the system must settle: every transfer
 * once, the sum kept, nothing left in a mailbox. A failing seed is named; it becomes a test of its own.
 */
import { expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import type { Fault, Statement } from '../support/faulty-store.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'
import { Generator } from '../support/value-generator.ts'

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 8)
const FIRST = Number(process.env['SIM_FIRST'] ?? 1)
const ACCOUNTS = 5
const TRANSFERS = 25
const START = 100
/** Ms of virtual time in which everything must be done once the faults stopped: some deadlines of calls. */
const SETTLE_MS = 240_000

type Transfer = { name: string; from: string; to: string; amount: number }

const account = agent('account', {
  state: () => ({ balance: START, seen: [] as string[] }),
  on: {
    take(ctx, { name, amount }: Transfer) {
      if (ctx.state.balance < amount) throw new Reject('poor')
      ctx.state.balance -= amount
      ctx.state.seen.push(`-${name}`)
    },
    give(ctx, { name, amount }: Transfer) {
      ctx.state.balance += amount
      ctx.state.seen.push(`+${name}`)
    },
  },
  passivateAfterMs: 2_000,
})

function clerkOf(oracle: Oracle) {
  return agent('clerk', {
    state: () => ({ done: [] as string[], late: [] as string[] }),
    on: {
      async move(ctx, transfer: Transfer) {
        await ctx.step('quote', ({ idempotencyKey }) => oracle.hit(`quote ${transfer.name} ${idempotencyKey}`))
        try {
          // Longer than any outage here: a call that timed out may still be carried out, which no sum survives.
          await ctx.call(ctx.ref(account, transfer.from).take(transfer), { timeoutMs: 3_000_000 })
        } catch (error) {
          if ((error as { code: string }).code !== 'CALL_REJECTED') throw error
          ctx.state.done.push(`refused ${transfer.name}`)
          return 'refused'
        }
        ctx.send(ctx.ref(account, transfer.to).give(transfer))
        ctx.state.done.push(transfer.name)
        ctx.after(100, 'late', transfer.name)
        return 'done'
      },
      late: (ctx, name: string) => ctx.state.late.push(name),
    },
    passivateAfterMs: 2_000,
    maxAttempts: 1_000,
  })
}

function faultOf(generator: Generator, { method }: Statement): Fault | undefined {
  if (generator.next() > 0.12) return undefined
  const kind = generator.below(10)
  if (kind < 4) return { kind: 'fail', failure: 'unavailable' }
  if (kind < 7) return { kind: 'lost' }
  if (kind === 7)
    return method === 'commit' ? { kind: 'fail', failure: 'contended' } : { kind: 'fail', failure: 'unavailable' }
  return kind === 8 ? { kind: 'die', when: generator.pick(['before', 'after']) } : undefined
}

for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
  test(`[J6] seed ${seed}: faults stop, the system settles, nothing is lost or doubled`, {
    timeout: 20_000,
  }, async () => {
    const generator = new Generator(seed)
    const world = World.memory()
    const oracle = new Oracle()
    const agents = [clerkOf(oracle), account]
    const [clerk] = agents as [ReturnType<typeof clerkOf>, typeof account]
    let faulty = true
    let born = 0
    const nodes: TestNode[] = []
    const start = async (): Promise<void> => {
      const node = await world.node(`n${++born}`, agents)
      node.faults.plan((statement) => (faulty ? faultOf(generator, statement) : undefined))
      nodes.push(node)
    }
    const alive = (): TestNode[] => nodes.filter((node) => !node.dead)
    const transfers = Array.from(
      { length: TRANSFERS },
      (_, i): Transfer => ({
        name: `t${i}`,
        from: `a${generator.below(ACCOUNTS)}`,
        to: `a${generator.below(ACCOUNTS)}`,
        amount: 1 + generator.below(60),
      }),
    )
    const begin = async (transfer: Transfer): Promise<boolean> => {
      const node = alive()[generator.below(alive().length)]
      if (node === undefined) return false
      const key = `c${Number(transfer.name.slice(1)) % 4}`
      const begun = node.core.messenger.begin(node.ref(clerk, key).move(transfer), { idempotencyKey: transfer.name })
      let known = false
      begun.then(
        () => (known = true),
        () => {},
      )
      for (let i = 0; i < 50 && !known && !node.dead; i++) await world.advance(10)
      return known
    }
    try {
      await start()
      await start()
      for (const transfer of transfers) {
        while (!(await begin(transfer))) if (alive().length < 2) await start()
        await world.advance(generator.below(60))
        const chance = generator.next()
        if (chance < 0.05) alive()[0]?.kill()
        else if (chance < 0.1) await alive()[0]?.stop()
        while (alive().length < 2) await start()
      }
      faulty = false
      await settled(world, alive(), clerk, transfers)
      await check(alive()[0] as TestNode, world, transfers, oracle)
    } finally {
      await world.close()
    }
  })
}

async function settled(
  world: World,
  nodes: readonly TestNode[],
  clerk: ReturnType<typeof clerkOf>,
  transfers: readonly Transfer[],
): Promise<void> {
  const deadline = world.clock.now() + SETTLE_MS
  for (const transfer of transfers) {
    const node = nodes[0] as TestNode // two nodes live when the faults stop
    const key = `c${Number(transfer.name.slice(1)) % 4}`
    const handle = await node.start(node.ref(clerk, key).move(transfer), { idempotencyKey: transfer.name })
    await world.run(handle.result())
  }
  await world.until(() => world.db?.mailbox.size === 0 && world.db.timers.values().every((timers) => timers.size === 0))
  expect(world.clock.now()).toBeLessThan(deadline)
}

async function check(node: TestNode, world: World, transfers: readonly Transfer[], oracle: Oracle): Promise<void> {
  let sum = 0
  const seen: string[] = []
  for (let i = 0; i < ACCOUNTS; i++) {
    const state = (await node.stored(`account/a${i}`)) as { balance: number; seen: string[] } | undefined
    sum += state?.balance ?? START
    seen.push(...(state?.seen ?? []))
  }
  const done: string[] = []
  const late: string[] = []
  for (let i = 0; i < 4; i++) {
    const state = (await node.stored(`clerk/c${i}`)) as { done: string[]; late: string[] }
    done.push(...state.done)
    late.push(...state.late)
  }
  const moved = done.filter((name) => !name.startsWith('refused'))
  expect(done.map((name) => name.replace('refused ', '')).toSorted()).toEqual(
    transfers.map(({ name }) => name).toSorted(),
  )
  expect(seen.toSorted()).toEqual(moved.flatMap((name) => [`+${name}`, `-${name}`]).toSorted())
  expect(late.toSorted()).toEqual(moved.toSorted())
  expect(sum).toBe(ACCOUNTS * START)
  const keys = new Map(oracle.log.map((entry) => [entry.split(' ')[1], new Set<string>()]))
  for (const entry of oracle.log) keys.get(entry.split(' ')[1])?.add(entry)
  expect([...keys.values()].every((found) => found.size === 1)).toBe(true)
  expect(await node.core.backend.handle.archive.deadLetters('default', { limit: 10 })).toEqual([])
  expect(world.db?.mailbox.size).toBe(0)
}
