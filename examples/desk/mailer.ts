/**
 * `mailer/main`: the post out. It keeps what was answered per request and how often; anything but once is a bug of the
 * runtime, and `desk:check` looks for it here.
 */
import { agent } from 'vivarium'
import type { Settled } from './say.ts'

export type Letter = { customer: string; request: string; text: string; settled: Settled[] }

export type MailerState = { sent: Record<string, Letter & { times: number }> }

export const mailer = agent('mailer', {
  passivateAfterMs: 'never',
  state: (): MailerState => ({ sent: {} }),

  on: {
    answer(ctx, letter: Letter): number {
      const key = letterKey(letter)
      const before = ctx.state.sent[key]
      if (before === undefined) ctx.state.sent[key] = { ...letter, times: 1 }
      else before.times += 1
      return ctx.state.sent[key]?.times ?? 0
    },
  },

  queries: {
    letter: (state, key: { customer: string; request: string }) => state.sent[letterKey(key)] ?? null,
    count: (state) => Object.keys(state.sent).length,
  },
})

/** Two customers may name their requests alike. */
export function letterKey({ customer, request }: { customer: string; request: string }): string {
  return `${customer} ${request}`
}
