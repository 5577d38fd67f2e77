/**
 * Agents that an operator mends, copies and moves (operator.ts). What their steps did stands in a file of their own: a
 * step that an operator lets run again has a new idempotency key, which is wrong anywhere else.
 *
 * - A patient's turn is open until two messages came; whose step it was, original or copy, stands in its line.
 * - A ward's text says in one value which notes it holds.
 * - A crier writes more in one turn than its stream keeps: what is pruned may be of the turn that is open.
 */
import { appendFileSync } from 'node:fs'
import { agent, type Context, pool, supervisor } from 'vivarium'
import { count, type DoneState, FILL, PASSIVATE_MS } from './bank.ts'

/** Chunks of one cry, and bytes that a stream keeps: less than the half of one. */
export const CRIES = 8
const CRY_BYTES = 500
const CRY_FILL = FILL.slice(0, 100)
/** Characters of a note that is stored apart. */
const LARGE_CHARS = 80_000

export type Care = { id: string }
/** A message that a treatment waits for; `ask` tells one from the other. */
export type Visit = { id: string; ask: string }
export type WardState = DoneState & { text: string; large: string }
export type PatientState = DoneState & { said: string; visits: Record<string, number> }

export type Treatment = { id: string; process: string; step: string; key: string }

let treatments = ''
export function treatIn(file: string): void {
  treatments = file
}

/** Where the lines of treatments stand, beside the effects of others. */
export function treatmentsOf(effects: string): string {
  return `${effects}.treatments`
}

function mark(ctx: Context<PatientState>, id: string, step: string): Promise<string> {
  return ctx.step(step, ({ idempotencyKey: key }) => {
    appendFileSync(treatments, `${JSON.stringify({ id, process: ctx.id, step, key })}\n`)
    return REAL
  })
}

/** What a step says that ran; an operator's answer in a copy says something else. */
export const REAL = 'real'

/** One for all: hears once of each treatment, never from a copy. */
export const orderly = agent('orderly', {
  state: (): DoneState => ({ done: {} }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    carry(ctx, { id }: Care) {
      count(ctx.state, `carry ${id}`)
    },
  },
})

export const patient = agent('patient', {
  state: (): PatientState => ({ done: {}, said: '', visits: {} }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async treat(ctx, { id }: Care) {
      await mark(ctx, id, 'wash')
      await mark(ctx, id, 'cut')
      meet(ctx.state, (await ctx.receive<Visit>('go')).message)
      ctx.state.said = await mark(ctx, id, 'sew')
      ctx.send(ctx.ref(orderly, 'main').carry({ id }))
      meet(ctx.state, (await ctx.receive<Visit>('leave')).message)
      count(ctx.state, `treat ${id}`)
    },
    /** Of the next treatment, of one that was skipped, or one too many. */
    go(ctx, visit: Visit) {
      meet(ctx.state, visit)
    },
    leave(ctx, visit: Visit) {
      meet(ctx.state, visit)
    },
  },
})

function meet(state: PatientState, { id, ask }: Visit): void {
  const what = `${id} ${ask}`
  state.visits[what] = (state.visits[what] ?? 0) + 1
}

export const ward = agent('ward', {
  state: (): WardState => ({ done: {}, text: '', large: '' }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    note(ctx, { id: note }: Care) {
      count(ctx.state, note)
      ctx.state.text += `|${note}`
      if (note === 'b') ctx.state.large = largeOf(note)
    },
  },
})

export function largeOf(note: string): string {
  return note.repeat(LARGE_CHARS)
}

export const crier = agent('crier', {
  state: (): DoneState => ({ done: {} }),
  passivateAfterMs: PASSIVATE_MS,
  streams: { maxBytes: CRY_BYTES },
  on: {
    async cry(ctx, { id }: Care) {
      const out = ctx.stream('news')
      for (let n = 0; n < CRIES; n++) {
        await out.write({ id, n, fill: CRY_FILL })
        // Its first half is long stored, and perhaps pruned, when it goes on.
        if (n === CRIES / 2) await ctx.sleep(150)
      }
      count(ctx.state, `cry ${id}`)
    },
  },
})

export const hospital = supervisor('hospital', {
  strategy: 'one_for_one',
  children: [orderly, patient, ward, crier].map((each) => pool(each)),
})
