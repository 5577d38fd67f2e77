/** A saga whose node dies at every one of its statements, before or after it was written: it is taken back whole. */
import { expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { World } from '../support/runtime.ts'

const HOUR = 3_600_000
/** More than the node that begins makes until the end. */
const STATEMENTS = 40

const CAUSES = { cancelled: 'CANCELLED', rejected: 'CALL_REJECTED', failed: 'DEAD_LETTERED' } as const
type Cause = keyof typeof CAUSES

function story(log: string[], keys: Map<string, Set<string>>) {
  const undo = (name: string, key: string): void => {
    log.push(`undo ${name}`)
    keys.set(name, (keys.get(name) ?? new Set()).add(key))
  }
  const hotel = agent('hotel', {
    state: () => null,
    on: {
      async hold(ctx) {
        try {
          await ctx.sleep(HOUR)
        } finally {
          await ctx.step('release', () => void log.push('released'))
        }
      },
    },
  })
  const trip = agent('trip', {
    state: () => ({ booked: 0 }),
    maxAttempts: 2,
    on: {
      async book(ctx, cause: Cause) {
        await ctx.start(hotel, 'h', 'hold', null, { parentClose: 'stop' })
        for (const name of ['flight', 'car']) {
          ctx.onRollback(name, ({ idempotencyKey }) => undo(name, idempotencyKey))
          await ctx.step(name, () => void log.push(name))
        }
        ctx.state.booked += 1
        await Promise.all([ctx.sleep(20), ctx.shield(() => ctx.step('pay', () => void log.push('pay')))])
        if (cause === 'rejected') throw new Reject('no')
        if (cause === 'failed') throw new Error('boom')
        await Promise.all([ctx.sleep(HOUR), ctx.receive('never')])
      },
      never: () => null,
    },
  })
  return { trip, hotel }
}

async function run(cause: Cause, nth: number, when: 'before' | 'after'): Promise<boolean> {
  const world = World.memory()
  const [log, keys] = [[] as string[], new Map<string, Set<string>>()]
  const { trip, hotel } = story(log, keys)
  try {
    const a = await world.node('a', [trip, hotel])
    await a.start(a.ref(trip, 't').book(cause), { idempotencyKey: 'k' })
    let left = nth
    a.faults.plan(({ method }) => {
      if (method !== 'commit' && method !== 'enqueue' && method !== 'request') return undefined
      left -= 1
      return left === 0 ? { kind: 'die', when } : undefined
    })
    await world.advance(100)
    if (cause === 'cancelled' && !a.dead) {
      const handle = await world.run(a.core.messenger.handle('trip/t', 'k'))
      handle.cancel('it rains').catch(() => {})
      await world.advance(200)
    }
    const died = a.dead
    const b = died ? await world.node('b', [trip, hotel]) : a
    const handle = await world.run(b.core.messenger.handle('trip/t', 'k'))
    await world.advance(200)
    if (cause === 'cancelled') await world.run(handle.cancel('it rains still'))
    const at = `${cause} ${when} ${nth}: ${log.join(', ')}`
    expect((await world.refusal(handle.result())).code, at).toBe(CAUSES[cause])
    await world.until(() => log.includes('released'), `the release, ${at}`)
    await world.advance(100)
    const first = log.filter((line, i) => line.startsWith('undo') && log.indexOf(line) === i)
    expect(first, at).toEqual(['undo car', 'undo flight'])
    // At least once while the node dies in it, under one key.
    expect(log.filter((line) => line.startsWith('undo')).length, at).toBeLessThanOrEqual(died ? 3 : 2)
    for (const [name, each] of keys) expect(each.size, `${name}, ${at}`).toBe(1)
    expect(await b.stored('trip/t'), at).toEqual({ booked: 0 })
    const counts = await b.core.backend.handle.archive.mailboxCounts('default', ['trip/t', 'hotel/h'])
    expect(
      [...counts.values()].filter((n) => n > 0),
      at,
    ).toEqual([])
    return died
  } finally {
    await world.close()
  }
}

test.each(['cancelled', 'rejected', 'failed'] as const)(
  '[Y4] [Y1] a node that dies at any statement of a trip that is %s',
  async (cause) => {
    let deaths = 0
    for (const when of ['before', 'after'] as const) {
      for (let nth = 1; nth <= STATEMENTS; nth++) {
        if (!(await run(cause, nth, when))) break
        deaths += 1
      }
    }
    expect(deaths).toBeGreaterThan(8)
  },
  120_000,
)
