/** Agents for the rules of sandbox copies: one that reaches others by every verb, and those it reaches. */
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { gate, Oracle } from './runtime.ts'

type Log = { log: unknown[] }

function world() {
  const oracle = new Oracle()
  const door = gate()
  const seen: string[] = []
  const tokens: string[] = []
  const shared = { changed: false }

  const bank = agent('bank', {
    state: () => ({ n: 0 }),
    on: {
      pay(ctx, amount: number) {
        ctx.state.n += amount
        return ctx.state.n
      },
      hold: (ctx) => ctx.step('held', () => door.promise),
    },
    queries: { total: (state) => state.n },
  })
  const mayfly = agent('mayfly', { durability: 'ephemeral', state: () => ({}), on: { hum: () => null } })
  const listener = agent('listener', {
    state: (): Log => ({ log: [] }),
    on: { listen: (ctx) => void ctx.state.log.push('on'), heard: (ctx, what: string) => void ctx.state.log.push(what) },
    activated: (ctx) => ctx.subscribe(`news.${ctx.key}`, 'heard'),
  })

  const desk = agent('desk', {
    state: (): Log => ({ log: [] }),
    on: {
      note(ctx, text: string) {
        ctx.state.log.push(text)
        return ctx.state.log.length
      },
      async work(ctx) {
        if (shared.changed) await ctx.step('other', () => 'other')
        const a = await ctx.step('a', () => {
          oracle.hit('a')
          return 'a'
        })
        const b = ctx.step('b', async () => {
          oracle.hit('b')
          await door.promise
          return 'real'
        })
        const { message } = await ctx.receive<string>('note')
        ctx.state.log.push(a, message, await b)
        try {
          ctx.state.log.push(await ctx.ref(bank, ctx.key).pay(5))
        } catch (error) {
          ctx.state.log.push(Reflect.get(Object(error), 'code'))
        }
      },
      stumble() {
        oracle.hit('stumble')
        throw new Error('stumbled')
      },
      async reach(ctx, key: string) {
        ctx.send(ctx.ref(bank, key).pay(1))
        await ctx.register(`name-${key}`)
        await ctx.checkpoint()
        ctx.send(ctx.ref(bank, key).pay(2))
        ctx.send(ctx.ref(mayfly, key).hum())
        ctx.publish(`news.${key}`, 'news')
        ctx.spawn(bank, `${key}-child`, { monitor: true })
        if (ctx.id !== `desk/${key}`) ctx.link(`desk/${key}`)
        ctx.subscribe('news.*', 'note')
        await ctx.stream('out').write('chunk')
      },
      async parent(ctx, key: string) {
        await ctx.start(bank, key, 'hold', null, { parentClose: 'stop' })
        await ctx.step('b', () => {
          oracle.hit('b')
          return door.promise
        })
        ctx.state.log.push(await ctx.transaction(() => oracle.hit('sql')))
        await ctx.start(bank, key, 'pay', 3)
      },
      async alone(ctx, key: string) {
        await ctx.sleep(20)
        ctx.state.log.push(await ctx.ref(bank, key).total())
        const { message } = await ctx.receive<string>('note')
        ctx.state.log.push(message)
        ctx.after(10, 'note', 'by timer')
      },
      async wander(ctx) {
        const name = ctx.uuid()
        await ctx.step(`a ${name}`, () => oracle.hit('a'))
        const next = ctx.uuid()
        seen.push(next)
        await ctx.step(`b ${next}`, () => {
          oracle.hit('b')
          return door.promise
        })
      },
      async approve(ctx) {
        await ctx.step('a', () => oracle.hit('a'))
        const given = await ctx.step<string>('ok', ({ token }) => void tokens.push(token), { external: true })
        ctx.state.log.push(given)
      },
      async saga(ctx) {
        for (const name of ['one', 'two']) {
          ctx.onRollback(`undo ${name}`, () => void oracle.hit(`undo ${name}`))
          await ctx.step(name, () => void oracle.hit(name))
        }
        throw new Reject('no more')
      },
      async back(ctx) {
        ctx.onRollback('undo', () => {
          oracle.hit('undo')
          return door.promise
        })
        await ctx.step('a', () => oracle.hit('a'))
        throw new Error('back')
      },
    },
    maxAttempts: 3,
  })
  return { oracle, door, seen, tokens, shared, bank, mayfly, listener, desk }
}

export function sandboxActors() {
  const { shared, ...actors } = world()
  const { bank, mayfly, listener, desk } = actors
  return {
    ...actors,
    all: [desk, bank, mayfly, listener],
    /** From now on `work` begins with another step. */
    change: () => {
      shared.changed = true
    },
  }
}

export type SandboxActors = ReturnType<typeof sandboxActors>
