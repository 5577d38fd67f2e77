/**
 * `ledger/main`: the payment book. It writes down every charge it is told of and refuses none: if an order were ever
 * charged twice, both entries would stand here for everyone to see, `desk:check` first.
 */
import { agent } from 'vivarium'

export type Account = {
  charges: { authorisation: string; cents: number }[]
  /** What later changes of the order added or took off. */
  adjustedCents: number
  refundedCents: number
}

export type LedgerState = { accounts: Record<string, Account> }

export const ledger = agent('ledger', {
  state: (): LedgerState => ({ accounts: {} }),

  on: {
    charge(ctx, charge: { order: string; authorisation: string; cents: number }): number {
      const { order, authorisation, cents } = charge
      const account = accountOf(ctx.state, order)
      account.charges.push({ authorisation, cents })
      return balanceOf(account)
    },

    adjust(ctx, { order, cents }: { order: string; cents: number }): number {
      const account = accountOf(ctx.state, order)
      account.adjustedCents += cents
      return balanceOf(account)
    },

    /** Pays back what is left; a second refund finds nothing. Returns the cents paid back. */
    refund(ctx, order: string): number {
      const account = accountOf(ctx.state, order)
      const cents = balanceOf(account)
      account.refundedCents += cents
      return cents
    },
  },

  queries: {
    balance: (state, order: string) => {
      const account = state.accounts[order]
      return account === undefined ? 0 : balanceOf(account)
    },
  },
})

export function balanceOf({ charges, adjustedCents, refundedCents }: Account): number {
  return charges.reduce((sum, { cents }) => sum + cents, 0) + adjustedCents - refundedCents
}

function accountOf(state: LedgerState, order: string): Account {
  state.accounts[order] ??= { charges: [], adjustedCents: 0, refundedCents: 0 }
  return state.accounts[order]
}
