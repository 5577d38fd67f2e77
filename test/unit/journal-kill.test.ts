/**
 * Kill at every await: a transfer between two durable agents, with steps, sends and a timer, whose node dies around the
 * n-th statement, for every n; a new node finishes. What happened is compared with what must have happened once.
 */
import { describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Store } from '../../server/store/store.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

/** Statements of the story; later ones are never reached. */
const STATEMENTS = 20

const account = agent('account', {
  state: () => ({ balance: 100, log: [] as string[] }),
  on: {
    put(ctx, { amount, note }: { amount: number; note: string }) {
      ctx.state.balance += amount
      ctx.state.log.push(note)
      return ctx.state.balance
    },
  },
})

const ledger = agent('ledger', {
  state: () => ({ lines: [] as string[] }),
  on: { line: (ctx, text: string) => void ctx.state.lines.push(text) },
})

function clerkOf(oracle: Oracle) {
  return agent('clerk', {
    state: () => ({ done: [] as string[], reminded: 0 }),
    on: {
      async transfer(ctx, name: string) {
        const fee = await ctx.step('fee', ({ idempotencyKey }) => Math.min(1, oracle.hit(`fee ${idempotencyKey}`)))
        ctx.send(ctx.ref(ledger, 'l').line(`${name} begins`))
        await ctx.ref(account, 'from').put({ amount: -10 - fee, note: `${name} out` })
        await ctx.checkpoint()
        const [to] = await Promise.all([
          ctx.ref(account, 'to').put({ amount: 10, note: `${name} in` }),
          ctx.step('notice', () => oracle.hit('notice')),
        ])
        ctx.send(ctx.ref(ledger, 'l').line(`${name} ends at ${to}`))
        ctx.after(200, 'remind', name)
        ctx.state.done.push(name)
        return to
      },
      remind(ctx) {
        ctx.state.reminded += 1
      },
    },
  })
}

type Death = { method: keyof Store; n: number; when: 'before' | 'after' }

/** With `elsewhere`, the accounts and the ledger live on a second node, which survives. */
async function story(death: Death | null, elsewhere = false): Promise<{ died: boolean; oracle: Oracle }> {
  const world = World.memory()
  const began = world.clock.now()
  const oracle = new Oracle()
  const clerk = clerkOf(oracle)
  const agents = [clerk, account, ledger]
  const start = (node: TestNode) =>
    node.core.messenger.begin(node.ref(clerk, 'c').transfer('t1'), { idempotencyKey: 't1' })
  try {
    const other = elsewhere ? await world.node('other', [account, ledger]) : null
    for (const key of ['from', 'to']) await other?.call(other.ref(account, key).put({ amount: 0, note: 'open' }))
    await other?.call(other.ref(ledger, 'l').line('open'))
    const a = await world.node('a', agents)
    const spare = a.faults.plan(({ method, n }) =>
      method === death?.method && n === death.n ? { kind: 'die', when: death.when } : undefined,
    )
    const begun = start(a)
    begun.catch(() => {})
    const lines = elsewhere ? 3 : 2
    await world.until(async () => a.dead || (await finished(a, lines)), 'the death or the end of the story')
    spare()
    const died = a.dead
    const node = died ? await world.node('b', agents) : a
    // Whoever asked asks again with the same key, as after any lost answer.
    const handle = await world.run(start(node))
    expect(await world.run(handle.result())).toBe(110)
    await world.until(() => finished(node, lines), 'the end of the story')
    await world.advance(3_000)
    const open = elsewhere ? ['open'] : []
    expect(await node.stored('account/from')).toEqual({ balance: 89, log: [...open, 't1 out'] })
    expect(await node.stored('account/to')).toEqual({ balance: 110, log: [...open, 't1 in'] })
    expect(await node.stored('ledger/l')).toEqual({ lines: [...open, 't1 begins', 't1 ends at 110'] })
    expect(await node.stored('clerk/c')).toEqual({ done: ['t1'], reminded: 1 })
    expect(world.db?.mailbox.size, 'rows left in mailboxes').toBe(0)
    expect(new Set(oracle.log.filter((name) => name.startsWith('fee'))).size).toBe(1)
    expect(await node.core.backend.handle.archive.deadLetters('default', { limit: 5 })).toEqual([])
    expect(world.clock.now() - began, 'ms of the story').toBeLessThan(15_000)
    return { died, oracle }
  } finally {
    await world.close()
  }
}

async function finished(node: TestNode, lines: number): Promise<boolean> {
  const state = (await node.stored('clerk/c')) as { done: string[]; reminded: number } | undefined
  const ledgerState = (await node.stored('ledger/l')) as { lines: string[] } | undefined
  return state?.reminded === 1 && ledgerState?.lines.length === lines
}

describe('exactly once', () => {
  test('[M2] without a death the story happens once', async () => {
    const { oracle } = await story(null)
    expect(oracle.log.length).toBe(2)
  })

  for (const when of ['before', 'after'] as const) {
    test(`[M2][T3] the node dies ${when} its n-th commit, for every n`, async () => {
      let deaths = 0
      for (let n = 1; n <= STATEMENTS; n++) if ((await story({ method: 'commit', n, when })).died) deaths += 1
      expect(deaths).toBeGreaterThanOrEqual(6)
    })
  }

  test('[M2][M5] the same with callees on a node that lives on, which hints may never reach', async () => {
    let deaths = 0
    for (const when of ['before', 'after'] as const) {
      for (let n = 1; n <= STATEMENTS; n++) if ((await story({ method: 'commit', n, when }, true)).died) deaths += 1
    }
    expect(deaths).toBeGreaterThanOrEqual(10)
  })

  test('[M2][V5] the node dies around every other statement that writes', async () => {
    let deaths = 0
    for (const method of ['claim', 'load', 'request', 'fireTimers', 'enqueue', 'release'] as const) {
      for (const when of ['before', 'after'] as const) {
        for (let n = 1; n <= 4; n++) if ((await story({ method, n, when })).died) deaths += 1
      }
    }
    expect(deaths).toBeGreaterThanOrEqual(10)
  })
})
