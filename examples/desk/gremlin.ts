/**
 * `gremlin/main`: what goes wrong on a bad day (`--chaos`), on purpose and in turn, so that you can watch supervision
 * at work: a message nobody can handle, one that takes for ever, noise that kills the radio, a parcel to nowhere.
 *
 * Flaky prices and broken vans are not its work; they follow from `conditions.chaos` of each request.
 */
import { agent, type Context } from 'vivarium'
import { concierge } from './concierge.ts'
import { courier } from './courier.ts'
import { radio } from './radio.ts'

export type GremlinState = {
  awake: boolean
  /** Mischief done so far. */
  done: number
  /** Requests it sent to concierges, by request: each must be answered once or end as a dead letter. */
  requests: Record<string, string>
}

/** Milliseconds between two acts. Four acts a round: the radio dies every 12 s, far below any restart limit. */
const EVERY_MS = 3_000
/** Acts until it falls asleep: mischief for two hours, then the dead letters are enough. */
const DONE_MAX = 2_400

type Ctx = Context<GremlinState>

export const gremlin = agent('gremlin', {
  state: (): GremlinState => ({ awake: false, done: 0, requests: {} }),

  on: {
    wake(ctx, awake: boolean): void {
      ctx.state.awake = awake
      if (awake) ctx.after(EVERY_MS, 'act', null, { name: 'act' })
      else ctx.cancel('act')
    },

    act(ctx): void {
      if (!ctx.state.awake || ctx.state.done >= DONE_MAX) return
      const acts = [poison, dawdle, noise, loseParcel]
      acts[ctx.state.done % acts.length]?.(ctx)
      ctx.state.done += 1
      ctx.after(EVERY_MS, 'act', null, { name: 'act' })
    },
  },
})

function poison(ctx: Ctx): void {
  const request = `gremlin-${ctx.state.done}`
  ctx.state.requests[request] = 'gremlin'
  ctx.send(ctx.ref(concierge, 'gremlin').say({ text: 'Hold this for me, will you?', request, mischief: 'poison' }))
}

function dawdle(ctx: Ctx): void {
  const request = `gremlin-${ctx.state.done}`
  ctx.state.requests[request] = 'sloth'
  ctx.send(ctx.ref(concierge, 'sloth').say({ text: 'Hello ... there ...', request, mischief: 'slow' }))
}

function noise(ctx: Ctx): void {
  ctx.send(ctx.ref(radio, 'main').noise())
}

function loseParcel(ctx: Ctx): void {
  ctx.send(ctx.ref(courier, 'south').take({ order: `lost-${ctx.state.done}`, address: 'nowhere', chaos: true }))
}
