/** The agent that writes streams: one for each order, closed at its end. */
import { type AgentDefinition, agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import type { ScribeOrder } from './scribe-order.ts'
import type { Witness } from './witness.ts'

export type ScribeState = {
  done: { [id: string]: number }
  /** What the chunks of a stream begin with. */
  stems: { [id: string]: string }
}

type Ctx = Context<ScribeState>
type Ops = { write(ctx: Ctx, order: ScribeOrder): Promise<string> }
export type ScribeAgent = AgentDefinition<ScribeState, Ops, { all(state: ScribeState): ScribeState }>

const ATTEMPTS_MAX = 6
const PASSIVATE_AFTER_MS = 800
const RETRY = { max: 8, initialMs: 40, jitter: 0.5 } as const

/** @param witness  of the node that runs it */
export function scribeOf(witness: Witness): ScribeAgent {
  return agent('scribe', {
    state: (): ScribeState => ({ done: {}, stems: {} }),
    on: {
      async write(ctx, order: ScribeOrder) {
        const { id, way } = order
        witness.begun(id)
        ctx.state.stems[id] =
          way.kind === 'step' ? await writeInStep(ctx, order, witness) : await write(ctx, order, witness)
        ctx.state.done[id] = (ctx.state.done[id] ?? 0) + 1
        return `done ${id}`
      },
    },
    queries: { all: (state) => state },
    passivateAfterMs: PASSIVATE_AFTER_MS,
    maxAttempts: ATTEMPTS_MAX,
  })
}

async function write(ctx: Ctx, { id, chunks, pauses }: ScribeOrder, witness: Witness): Promise<string> {
  const out = ctx.stream(id)
  for (let i = 0; i < chunks; i++) {
    for (const [n, { before, how, ms }] of pauses.entries()) {
      if (before !== i) continue
      if (how === 'sleep') await ctx.sleep(ms)
      else if (how === 'step') await ctx.step(`${id}.${n}`, () => witness.pause(ms))
      else if (witness.visit(`crash ${id}/${n}`) === 1) throw new Error('a planned crash')
    }
    await out.write(`${id}:${i}`)
  }
  await out.close()
  return id
}

/** Each attempt writes chunks of its own: those of one that failed must not be left. */
function writeInStep(ctx: Ctx, { id, chunks, way }: ScribeOrder, witness: Witness): Promise<string> {
  const turn = ctx.message.id ?? ''
  return ctx.step(
    id,
    async ({ stream, idempotencyKey }) => {
      const stem = witness.ran(id, idempotencyKey, { actor: ctx.id, turn, before: [] })
      const isFailing = way.kind === 'step' && witness.visit(`step ${id}`) <= way.fails
      const out = stream(id)
      for (let i = 0; i < (isFailing ? Math.ceil(chunks / 2) : chunks); i++) await out.write(`${stem}:${i}`)
      if (isFailing) throw new Error('a planned failure')
      await out.close()
      return stem
    },
    { retry: RETRY },
  )
}
