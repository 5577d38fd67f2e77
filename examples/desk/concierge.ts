/**
 * `concierge/<customer>`: one conversation. Reads a message, gets done what it asks for, answers, remembers.
 *
 * - One turn per message: the answer to the customer, the letter to the mailer and what the concierge remembers are one
 *   commit. A crash in the middle continues the turn; it does not start it again.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { agent } from 'vivarium'
import { carryOut, type Done, type Errand, isOrder } from './clerk.ts'
import { advance } from './context.ts'
import { type Conversation, type Exchange, newConversation, remember } from './conversation.ts'
import type { ConversationContext } from './intent.ts'
import { mailer } from './mailer.ts'
import { recognizer } from './recognizer.ts'
import { DEFAULT_CONDITIONS, type Reply, Say } from './say.ts'

/** Milliseconds that a slow request of `--chaos` keeps its concierge busy. */
const SLOW_MS = 4_000

export const concierge = agent('concierge', {
  state: newConversation,
  schemas: { say: Say },

  on: {
    async say(ctx, { text, request = ctx.uuid(), conditions = DEFAULT_CONDITIONS, mischief }: Say) {
      const before = ctx.state.exchanges.find((exchange) => exchange.request === request)
      if (before !== undefined) return replyOf(before)
      if (mischief === 'poison') throw new Error(`Chaos: the message ${request} cannot be handled by anybody`)
      if (mischief === 'slow') await ctx.step('think slowly', ({ signal }) => pause(SLOW_MS, null, { signal }))

      const remembered = plainContext(ctx.state.context)
      const intents = await ctx.step('recognize', () => recognizer(text, remembered))

      // Orders first, whatever the order of the words: "gift-wrapped, please, three candles".
      const done: Done[] = []
      const errand: Errand = { request, conditions, placed: null }
      for (const intent of intents.filter(isOrder)) done.push(await carryOut(ctx, intent, errand))
      for (const intent of intents.filter((one) => !isOrder(one))) done.push(await carryOut(ctx, intent, errand))

      ctx.state.context = advance(remembered, done)
      const settled = done.map(({ intent, outcome, orderId }) => ({ intent: intent.kind, outcome, orderId }))
      const reply: Reply = { request, text: done.map((one) => one.text).join(' '), settled }
      remember(ctx.state, { ...reply, asked: text, at: ctx.now() })
      ctx.send(ctx.ref(mailer, 'main').answer({ customer: ctx.key, ...reply }))
      return reply
    },
  },

  queries: {
    /** The last exchanges, newest last. */
    replies: (state) => state.exchanges,
    /** The answer to one request; null while there is none. */
    reply: (state, request: string) => state.exchanges.find((exchange) => exchange.request === request) ?? null,
  },
})

/** `ctx.state` is a draft that lives for this turn only; what a step keeps hold of must not be part of it. */
function plainContext({
  lastOrderId,
  lastOrderSkus,
  lastSkus,
  lastIntent,
}: Conversation['context']): ConversationContext {
  return { lastOrderId, lastOrderSkus: [...lastOrderSkus], lastSkus: [...lastSkus], lastIntent }
}

function replyOf({ request, text, settled }: Exchange): Reply {
  return { request, text, settled: settled.map((one) => ({ ...one })) }
}
