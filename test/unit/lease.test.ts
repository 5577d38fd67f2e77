/** A node whose lease ran out: what it does outside the store, where no fence can stop it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LEASE_MS } from '../../server/cluster/membership.ts'
import { agent } from '../../server/definition/agent.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const payer = (node: string) =>
  agent('payer', {
    state: () => ({ paid: 0 }),
    on: {
      async pay(ctx) {
        await ctx.step('charge', () => void oracle.hit(`charge on ${node}`))
        ctx.state.paid += 1
      },
      async outside(ctx) {
        await ctx.step('hand out', () => void oracle.hit(`hand out on ${node}`), { external: true })
      },
      async again(ctx) {
        const late = ({ attempt }: { attempt: number }): void => {
          oracle.hit(`attempt ${attempt} on ${node}`)
          if (attempt === 1) throw new Error('not yet, on purpose')
        }
        await ctx.step('late', late, { retry: { max: 2, initialMs: 2 * LEASE_MS, jitter: 0 } })
        ctx.state.paid += 1
      },
    },
  })

/** Its renewals fail until the returned function is called; everything else passes. */
async function lapse(node: TestNode): Promise<() => void> {
  const end = node.faults.plan(({ method }) =>
    method === 'renewLease' ? { kind: 'fail', failure: 'unavailable' } : undefined,
  )
  await world.advance(LEASE_MS + 1_000)
  return end
}

test('[N9] a node whose lease ran out begins no step before it is renewed', async () => {
  const a = await world.node('a', [payer('a')])
  const renew = await lapse(a)
  await world.run(a.send(a.ref(payer('a'), 'k').pay()))
  await world.run(a.send(a.ref(payer('a'), 'l').outside()))
  await world.advance(LEASE_MS)
  expect([oracle.count('charge on a'), oracle.count('hand out on a')]).toEqual([0, 0])
  renew()
  await world.advance(LEASE_MS)
  expect([oracle.count('charge on a'), oracle.count('hand out on a')]).toEqual([1, 1])
})

test('[N9] no further attempt either: the one who took over makes it, once', async () => {
  const a = await world.node('a', [payer('a')])
  await world.run(a.send(a.ref(payer('a'), 'k').again()))
  await world.until(() => oracle.count('attempt 1 on a') === 1)
  await lapse(a)
  // As after a session that died: whoever looks takes it for dead.
  world.db?.sessions.delete(a.core.node.id)
  const b = await world.node('b', [payer('b')])
  await world.until(async () => ((await b.stored('payer/k')) as { paid: number } | undefined)?.paid === 1)
  await world.advance(LEASE_MS)
  expect([oracle.count('attempt 2 on a'), oracle.count('attempt 2 on b')]).toEqual([0, 1])
})

test('[N9] nor one that was replayed and waits for its time', async () => {
  const first = await world.node('a', [payer('a')])
  await world.run(first.send(first.ref(payer('a'), 'k').again()))
  await world.until(() => oracle.count('attempt 1 on a') === 1)
  await first.stop()
  const heir = await world.node('b', [payer('b')])
  await world.until(() => heir.core.kernel.find('payer/k')?.wait?.kind === 'retry')
  await lapse(heir)
  await world.advance(2 * LEASE_MS)
  expect(oracle.count('attempt 2 on b')).toBe(0)
})

test('[N9] the lease is asked for right before the function, in the same task', async () => {
  let lapsed = true
  const quick = agent('quick', {
    state: () => ({ lapsed: [] as boolean[] }),
    on: {
      async pay(ctx) {
        ctx.state.lapsed.push(await ctx.step('charge', () => lapsed))
      },
    },
  })
  const a = await world.node('a', [quick])
  // As of a node that is frozen as soon as it may be: for whoever goes on in a later microtask the lease is over.
  a.core.membership.held = () => {
    lapsed = false
    queueMicrotask(() => {
      lapsed = true
    })
    return null
  }
  await a.call(a.ref(quick, 'k').pay())
  expect(await a.stored('quick/k')).toEqual({ lapsed: [false] })
})

test('[N9] an answer to a renewal that is older than the lease it gives renews nothing', async () => {
  const a = await world.node('a', [payer('a')])
  const [late, next] = [gate(), gate()]
  for (const { promise } of [late, next]) a.faults.next('renewLease', { kind: 'hold', until: promise })
  await world.advance(2 * LEASE_MS)
  await world.run(a.send(a.ref(payer('a'), 'k').pay()))
  late.open()
  await world.advance(1_000)
  expect(oracle.count('charge on a')).toBe(0)
  next.open()
  await world.advance(LEASE_MS)
  expect(oracle.count('charge on a')).toBe(1)
})
