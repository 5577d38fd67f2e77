/** The state of an order and the messages that begin it. Plain data: everything an agent keeps is. */
import type { Outcome } from './intent.ts'
import { type Answer, answer, type Conditions } from './say.ts'

export type Line = { sku: string; quantity: number; cents: number }

export type OrderStatus =
  | 'none'
  | 'refused'
  | 'paid'
  | 'shipped'
  | 'cancelled'
  // Only orders of the archive got so far.
  | 'delivered'
  | 'returned'
  | 'refunded'

export type OrderState = {
  status: OrderStatus
  customer: string | null
  request: string | null
  lines: Line[]
  /** Null is the address of the account. */
  address: string | null
  wrapped: boolean
  chaos: boolean
  archived: boolean
  returnOpened: boolean
  complaints: number
}

export type Placing = {
  customer: string
  request: string
  /** One line per product. */
  lines: { sku: string; quantity: number }[]
  address: string | null
  conditions: Conditions
}

/** `taken`: the number belongs to an order already. */
export type Placed = { kind: 'settled'; answer: Answer } | { kind: 'taken' }

/** Ms a colleague may take. They are durable and come back after any crash, so waiting long is right. */
export const PATIENT = { timeoutMs: 600_000 }

export function newOrder(): OrderState {
  return {
    status: 'none',
    customer: null,
    request: null,
    lines: [],
    address: null,
    wrapped: false,
    chaos: false,
    archived: false,
    returnOpened: false,
    complaints: 0,
  }
}

export function totalOf({ lines }: OrderState): number {
  return lines.reduce((sum, { quantity, cents }) => sum + quantity * cents, 0)
}

export function settled(outcome: Outcome, text: string): Placed {
  return { kind: 'settled', answer: answer(outcome, text) }
}
