/** Lists of processes on a real runtime: places that hold, passive ones as live ones, rows that agree with states. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { supervisor } from '../../server/definition/supervisor.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import type { ProcessQuery } from '../../server/observe/inspect.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { supervisorAt } from '../support/tree-world.ts'

/** Ms; long enough to be asked while alive. */
const PASSIVATE_MS = 2_000

const counter = (name: string) =>
  agent(name, {
    state: () => ({ n: 0 }),
    on: {
      add(ctx) {
        ctx.state.n += 1
      },
    },
    queries: { n: (state) => state.n },
    passivateAfterMs: PASSIVATE_MS,
  })
const cart = counter('cart')
const order = counter('order')

let world: World
let node: TestNode
let inspect: RuntimeInspect
beforeEach(async () => {
  world = World.memory()
  node = await world.node('a', [cart, order])
  inspect = new RuntimeInspect(node.core)
})
afterEach(async () => {
  inspect.close()
  await world.close()
})

const list = (query: ProcessQuery) => world.run(inspect.processes(query))
const ids = async (query: ProcessQuery) => (await list(query)).items.map(({ id }) => id)
const inMemory = (id: string) => node.core.kernel.find(id) !== undefined

async function live(...keys: string[]): Promise<void> {
  for (const key of keys) await node.call(node.ref(cart, key).add())
}

async function asleep(...keys: string[]): Promise<void> {
  await live(...keys)
  for (const key of keys) await world.until(() => !inMemory(`cart/${key}`), `passivation of ${key}`)
  await world.advance(100)
}

describe('cursors', () => {
  test('[O16] a page goes on from its place when the last row of the page before is gone', async () => {
    await live('a', 'b', 'c')
    const first = await list({ agent: 'cart', limit: 1 })
    expect(first.items.map(({ id }) => id)).toEqual(['cart/a'])
    await world.until(() => !inMemory('cart/a'))
    await live('b', 'c')
    expect(await ids({ agent: 'cart', limit: 5, cursor: first.cursor ?? '' })).toEqual(['cart/b', 'cart/c'])
  })

  test('[O16] every order is paged without a gap or a repetition, live and passive', async () => {
    await asleep('a', 'b', 'c')
    await live('d', 'e', 'f')
    await live('e')
    for (const q of ['agent:cart', 'agent:cart status:passive', 'agent:cart status:passive,idle']) {
      for (const sort of ['id', 'turns', 'since', 'status'] as const) {
        for (const dir of ['asc', 'desc'] as const) {
          const whole = await ids({ q, sort, dir })
          const paged: string[] = []
          let cursor: string | null = null
          do {
            const page = await list({ q, sort, dir, limit: 2, ...(cursor === null ? {} : { cursor }) })
            expect(page.total).toBe(whole.length)
            paged.push(...page.items.map(({ id }) => id))
            cursor = page.cursor
          } while (cursor !== null)
          expect(paged, `${q} ${sort} ${dir}`).toEqual(whole)
        }
      }
    }
    expect(await ids({ agent: 'cart', dir: 'desc' })).toEqual(['cart/f', 'cart/e', 'cart/d'])
  })

  test.each(['zzz', 'cart/a', '\u0000', 'e30'])('[O16] the cursor %j is refused', async (cursor) => {
    for (const query of [{ cursor }, { cursor, status: 'passive' as const }]) {
      await expect(inspect.processes(query)).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    }
  })

  test('[O16] a cursor of another order is refused', async () => {
    const { cursor } = await list({ sort: 'turns', limit: 1 })
    await expect(inspect.processes({ cursor: cursor ?? '' })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    await expect(inspect.mailbox('pool/cart', { after: 'zz' })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  })
})

describe('failures', () => {
  test('[O16] their pages go on from a place, also between failures of one time', async () => {
    await live('a')
    const { archive } = node.core.backend.handle
    const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'running' as const, turn: null }
    for (const id of ['f1', 'f2', 'f3']) {
      const error = { code: 'E', message: id }
      const rest = { class: 'error', attempt: 1, messageId: null, op: null, decision: 'restart', incarnation: 1, box }
      await archive.writeFailure(node.core.namespace, 'cart/a', { id, error, ...rest })
    }
    const found: string[] = []
    for (let before: string | null | undefined; before !== null; ) {
      const page = await world.run(inspect.failures({ limit: 1, ...(before === undefined ? {} : { before }) }))
      found.push(...page.items.map(({ id }) => id))
      before = page.cursor
    }
    expect(found).toEqual(['f3', 'f2', 'f1'])
    const refused = await world.refusal(inspect.failures({ before: '1732486557000' }))
    expect(refused).toMatchObject({ code: 'REQUEST_INVALID', detail: { path: 'query.before' } })
  })
})

describe('passive processes', () => {
  test('[O17] one query language finds live and passive ones; naming the status is asking', async () => {
    await asleep('amara', 'b1', 'b2')
    await live('amaral')
    expect(await ids({ q: 'amara' })).toEqual(['cart/amaral'])
    for (const q of ['status:passive amara', 'mara status=passive', 'status:passive id:*/amara']) {
      expect(await ids({ q }), q).toEqual(['cart/amara'])
    }
    expect(await ids({ q: 'amara status:passive,idle' })).toEqual(['cart/amara', 'cart/amaral'])
    expect(await ids({ q: '-status:passive amara' })).toEqual(['cart/amaral'])
    const all = ['cart/amara', 'cart/b1', 'cart/b2']
    expect(await ids({ status: 'passive' })).toEqual(all)
    expect(await ids({ status: 'passive', dir: 'desc' })).toEqual(all.toReversed())
    expect(await ids({ status: 'passive', q: 'agent:cart' })).toEqual(all)
    expect(await ids({ status: 'passive', q: 'agent:order' })).toEqual([])
    expect(await ids({ status: 'passive', q: 'under:pool/cart -amara' })).toEqual(['cart/b1', 'cart/b2'])
    expect(await ids({ status: 'passive', under: 'pool/cart' })).toEqual(all)
    expect(await ids({ status: 'passive', under: 'pool/order' })).toEqual([])
  })

  test('[O17] what to list below must exist', async () => {
    for (const query of [{ under: 'nope' }, { under: 'pool/nope', status: 'passive' as const }]) {
      await expect(world.run(inspect.processes(query))).rejects.toMatchObject({ code: 'PROCESS_NOT_FOUND' })
    }
  })

  test('[O17] rows tell the state version that the state tells, alive, passive and of supervisors', async () => {
    await asleep('a')
    await live('b', 'b')
    for (const query of [{ q: 'agent:cart status:passive,idle' }, { q: 'kind:supervisor' }]) {
      const { items } = await list(query)
      expect(items.length).toBeGreaterThan(1)
      for (const row of items) {
        const state = await world.run(inspect.state(row.id))
        expect([row.id, row.stateVersion, row.durable]).toEqual([row.id, state.version, true])
        expect(row.stateVersion).toBeGreaterThan(0)
        expect(await world.run(inspect.process(row.id))).toMatchObject({ stateVersion: state.version })
      }
    }
    const [passive, idle] = (await list({ q: 'agent:cart status:passive,idle' })).items
    expect(passive).toMatchObject({ depth: idle?.depth, parent: 'pool/cart', turns: 0 })
  })

  test('[O17] a static child that is down tells the version of its last row, in lists too', async () => {
    const root = supervisor('app', { strategy: 'one_for_one', children: [order.spec({ key: 's' })] })
    const b = await world.node('b', [order], { root, namespace: 'b' })
    const other = new RuntimeInspect(b.core)
    for (let i = 0; i < 3; i++) await b.call(b.ref(order, 's').add())
    const [spec] = await world.run(supervisorAt(b, 'app').which())
    await world.run(supervisorAt(b, 'app').terminateChild(spec?.id ?? ''))
    const state = await world.run(other.state('order/s'))
    expect(b.core.kernel.find('order/s')?.alive).toBe(false)
    expect(await world.run(other.process('order/s'))).toMatchObject({ stateVersion: state.version })
    expect((await world.run(other.processes({ agent: 'order' }))).items).toMatchObject([
      { id: 'order/s', status: 'exited', stateVersion: state.version },
    ])
    other.close()
  })

  test('[O17] the detail of a stored process tells its names, ties and last exit as rows hold them', async () => {
    const tied = agent('tied', {
      state: () => null,
      on: {
        async tie(ctx) {
          await ctx.register('tied')
          ctx.monitor('cart/x')
        },
        leave(ctx) {
          ctx.exit('shutdown')
        },
      },
      passivateAfterMs: PASSIVATE_MS,
    })
    const c = await world.node('c', [tied, cart], { namespace: 'c' })
    const other = new RuntimeInspect(c.core)
    const detail = () => world.run(other.process('tied/a'))
    await c.call(c.ref(cart, 'x').add())
    await c.call(c.ref(tied, 'a').tie())
    await world.until(() => c.core.kernel.find('tied/a') === undefined)
    expect(await detail()).toMatchObject({ names: ['tied'], monitors: ['cart/x'], lastExit: null })
    await c.call(c.ref(tied, 'a').leave())
    await world.until(() => c.core.kernel.find('tied/a') === undefined)
    const at = (await world.run(other.journal('tied/a', { limit: 1 }))).items[0]?.at
    expect(await detail()).toMatchObject({
      names: [],
      monitors: [],
      lastExit: { kind: 'shutdown', text: 'shutdown', at },
    })
    other.close()
  })

  test('[O17] vital signs count them', async () => {
    await asleep('a', 'b')
    await world.run(inspect.counted())
    expect(inspect.vitals().processes.passive).toBe(2)
  })

  test('[O17] a query of an unseen key says that it starts nothing', async () => {
    const call = node.control.call('cart/new', 'n', null, { actor: 'ana' })
    const error = await world.refusal(call)
    expect(error).toMatchObject({ code: 'PROCESS_NOT_FOUND', message: expect.stringContaining('starts nothing') })
    expect(inMemory('cart/new')).toBe(false)
  })
})
