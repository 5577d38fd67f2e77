/** The state of one conversation: what the concierge of a customer remembers. */
import { emptyContext } from './context.ts'
import type { ConversationContext } from './intent.ts'
import type { Reply } from './say.ts'

export type Exchange = Reply & { asked: string; at: number }

export type Conversation = {
  /** What "it" and "that order" mean. */
  context: ConversationContext
  /** Orders of this customer placed here. */
  orders: string[]
  /** Null until the customer gave a new one. */
  address: string | null
  newsletter: boolean
  waitsForHuman: boolean
  /** The last EXCHANGES_MAX messages and their answers. */
  exchanges: Exchange[]
}

/** Exchanges kept per customer; the mailer keeps all answers. */
const EXCHANGES_MAX = 20

export function newConversation(): Conversation {
  return {
    context: emptyContext(),
    orders: [],
    address: null,
    newsletter: true,
    waitsForHuman: false,
    exchanges: [],
  }
}

export function remember(conversation: Conversation, exchange: Exchange): void {
  const { exchanges } = conversation
  exchanges.push(exchange)
  if (exchanges.length > EXCHANGES_MAX) exchanges.splice(0, exchanges.length - EXCHANGES_MAX)
}
