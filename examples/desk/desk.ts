/**
 * `desk/main`: takes requests in and hands each to its concierge, at a pace, exactly once.
 *
 * The whole trick is one commit: the cursor, the requests sent and the timer of the next tick are the same turn. A
 * kill -9 before the commit sent nothing and moved nothing; after it, the requests are in the concierges' mailboxes and
 * the cursor stands behind them.
 */
import { agent, type Context } from 'vivarium'
import { z } from 'zod'
import { concierge } from './concierge.ts'
import { gremlin } from './gremlin.ts'
import { InboxLine } from './inbox.ts'
import { type Piece, readPiece } from './inbox-file.ts'
import { Conditions, DEFAULT_CONDITIONS } from './say.ts'
import { shippedInbox } from './shop.ts'

export type DeskState = {
  open: boolean
  /** Path of the inbox; null is the shipped one, `-` is none: requests come by `accept`. */
  inbox: string | null
  /** The cursor: where the next line of the inbox begins. */
  offset: number
  line: number
  finished: boolean
  ratePerSecond: number
  conditions: Conditions
  /** Every request taken in, and its customer. */
  accepted: Record<string, string>
  /** Lines whose number was taken in before. */
  repeated: number
  /** The last lines that were no requests. */
  refused: { line: number; reason: string }[]
}

/** What is left out stays as it was. */
const Opening = z.strictObject({
  inbox: z.string().min(1).nullable().optional(),
  ratePerSecond: z.number().min(0.01).max(10_000).optional(),
  conditions: Conditions.optional(),
})
export type Opening = z.infer<typeof Opening>
export type Progress = { accepted: number; repeated: number; refused: number; finished: boolean }

/** Milliseconds between two looks into the inbox, where the pace allows more than one request in that time. */
const TICK_MS = 50
/** Requests of one turn. */
const BATCH_MAX = 100
/** Refused lines remembered; all of them are in the log. */
const REFUSED_MAX = 20

type Ctx = Context<DeskState>

export const desk = agent('desk', {
  passivateAfterMs: 'never',
  schemas: { open: Opening, accept: InboxLine },
  state: (): DeskState => ({
    open: false,
    inbox: null,
    offset: 0,
    line: 0,
    finished: false,
    ratePerSecond: 5,
    conditions: DEFAULT_CONDITIONS,
    accepted: {},
    repeated: 0,
    refused: [],
  }),

  on: {
    /** Opens the desk, or goes on where it stopped. Another inbox is read from its beginning. */
    open(ctx, opening: Opening): Progress {
      const state = ctx.state
      const before = state.inbox
      Object.assign(state, opening, { open: true, finished: false })
      if (state.inbox !== before) Object.assign(state, { offset: 0, line: 0 })
      ctx.send(ctx.ref(gremlin, 'main').wake(state.conditions.chaos))
      if (state.inbox !== '-') ctx.after(0, 'tick', null, { name: 'tick' })
      return progressOf(state)
    },

    async tick(ctx): Promise<void> {
      const { open, inbox, offset, line, ratePerSecond } = ctx.state
      if (!open || inbox === '-') return
      const path = inbox ?? shippedInbox
      const everyMs = Math.max(TICK_MS, 1_000 / ratePerSecond)
      const limit = Math.min(BATCH_MAX, Math.max(1, Math.round((everyMs * ratePerSecond) / 1_000)))
      const piece = await ctx.step('read', () => readPiece(path, { offset, line }, limit))
      note(ctx, piece)
      for (const request of piece.lines) takeIn(ctx, request)
      Object.assign(ctx.state, { offset: piece.offset, line: piece.line, finished: piece.end })
      if (!piece.end) ctx.after(everyMs, 'tick', null, { name: 'tick' })
    },

    /** One request from somewhere else than a file. False when its number was taken in before. */
    accept: (ctx, request: InboxLine): boolean => takeIn(ctx, request),

    close(ctx): void {
      ctx.state.open = false
      ctx.cancel('tick')
    },
  },

  queries: {
    progress: (state) => progressOf(state),
  },
})

function takeIn(ctx: Ctx, { n, customer, text }: InboxLine): boolean {
  const request = `inbox-${n}`
  if (ctx.state.accepted[request] !== undefined) {
    ctx.state.repeated += 1
    return false
  }
  ctx.state.accepted[request] = customer
  const conditions = { ...ctx.state.conditions }
  ctx.send(ctx.ref(concierge, customer).say({ text, request, conditions }))
  return true
}

function note(ctx: Ctx, { refused }: Piece): void {
  if (refused.length === 0) return
  for (const { line, reason } of refused) ctx.log.warn(`Line ${line} of the inbox is no request: ${reason}`)
  ctx.state.refused = [...ctx.state.refused, ...refused].slice(-REFUSED_MAX).map((one) => ({ ...one }))
}

function progressOf({ accepted, repeated, refused, finished }: DeskState): Progress {
  return { accepted: Object.keys(accepted).length, repeated, refused: refused.length, finished }
}
