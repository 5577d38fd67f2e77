/** The desk's checker must find what it looks for: each promise is broken on purpose, and what is open is excused. */
import { describe, expect, test } from 'vitest'
import { audit } from '../../examples/desk/audit.ts'
import type { Product } from '../../examples/desk/catalogue.ts'
import type { CourierState } from '../../examples/desk/courier.ts'
import { courierOf } from '../../examples/desk/courier.ts'
import type { Evidence } from '../../examples/desk/evidence.ts'
import type { InventoryState } from '../../examples/desk/inventory.ts'
import type { Letter } from '../../examples/desk/mailer.ts'
import { newOrder, type OrderState } from '../../examples/desk/order-state.ts'
import { outcomeRate } from '../../examples/desk/outcome-rate.ts'

const products: Product[] = [
  { sku: 'MUG', name: 'Mug', aliases: ['mug'], category: 'kitchen', priceCents: 500, stock: 10 },
]
const shelf = (change: Partial<InventoryState> = {}): InventoryState => ({
  ...{ name: 'Mug', initial: 10, stock: 8, reserved: 2, sold: 0, holds: { 'D-1001': 2 }, stocked: true },
  ...change,
})
const order = (change: Partial<OrderState> = {}): OrderState => ({
  ...newOrder(),
  ...{ status: 'paid', customer: 'ana', request: 'inbox-1', lines: [{ sku: 'MUG', quantity: 2, cents: 500 }] },
  ...change,
})
const charge = { authorisation: 'A-1', cents: 1_000 }
const account = (charges = [charge]) => ({ charges, adjustedCents: 0, refundedCents: 0 })
const letter = (change: Partial<Letter & { times: number }> = {}) => ({
  ...{ customer: 'ana', request: 'inbox-1', text: 'Order placed.', times: 1 },
  settled: [{ intent: 'order' as const, outcome: 'ordered' as const, orderId: 'D-1001' }],
  ...change,
})

/** One paid order, all as it should be. */
function evidence(change: Partial<Evidence> = {}): Evidence {
  return {
    accepted: new Map([['inbox-1', 'ana']]),
    inbox: null,
    shelves: new Map([['MUG', shelf()]]),
    orders: new Map([['D-1001', order()]]),
    accounts: { 'D-1001': account() },
    letters: { 'ana inbox-1': letter() },
    couriers: new Map(),
    waiting: [],
    inHand: [],
    deadLetters: [],
    diverged: [],
    ...change,
  }
}

const broken = (change: Partial<Evidence>) =>
  audit(evidence(change), products).map(({ rule, row, what }) => `${rule} ${row}: ${what}`)

const shipped = { orders: new Map([['D-1001', order({ status: 'shipped' })]]) }
const sold = { shelves: new Map([['MUG', shelf({ reserved: 0, sold: 2, holds: {} })]]) }
const at = (state: Partial<CourierState>): Partial<Evidence> => ({
  couriers: new Map([[courierOf('D-1001'), { onTheRoad: {}, delivered: {}, ...state }]]),
})
const say = { target: 'concierge/ana', op: 'say', args: { text: 'hi', request: 'inbox-1' } }

describe('what the check finds', () => {
  test('nothing where all is well', () => {
    expect(broken({})).toEqual([])
    expect(broken({ ...shipped, ...sold, ...at({ delivered: { 'D-1001': 1 } }) })).toEqual([])
  })

  test('units that appeared or went', () => {
    const shelves = new Map([['MUG', shelf({ stock: 7 })]])
    expect(broken({ shelves })).toEqual(['stock inventory/MUG: 7 + 2 + 0 = 9, not 10'])
  })

  test('units held for nobody, or not held for an order', () => {
    const shelves = new Map([['MUG', shelf({ stock: 9, reserved: 1, holds: { 'D-1001': 1 } })]])
    expect(broken({ shelves })).toEqual(['holds inventory/MUG: holds 1 for D-1001 (paid), not 2'])
    expect(broken({ ...shipped, ...at({ delivered: { 'D-1001': 1 } }) })).toEqual([
      'holds inventory/MUG: holds 2 for D-1001 (shipped), not 0',
      'holds inventory/MUG: sold 0, orders shipped 2',
    ])
  })

  test('a second charge, also under another authorisation, and money that is not owed', () => {
    const accounts = { 'D-1001': account([charge, { authorisation: 'A-2', cents: 1_000 }]) }
    expect(broken({ accounts })).toEqual([
      'charges D-1001: charged 2 times',
      'charges D-1001: paid: 2000 cents were taken, 1000 are owed',
    ])
    expect(broken({ accounts: {} })).toEqual(['charges D-1001: paid: 0 cents were taken, 1000 are owed'])
  })

  test('a parcel handed over twice or lost on the way', () => {
    expect(broken({ ...shipped, ...sold, ...at({ delivered: { 'D-1001': 2 } }) })).toEqual([
      `parcels D-1001: handed over 2 times by ${courierOf('D-1001')}`,
    ])
    expect(broken({ ...shipped, ...sold })).toEqual(['parcels D-1001: shipped and lost'])
  })

  test('a request that is lost, answered twice, answered and given up, or given up without a reason', () => {
    const dead = { ...say, reason: 'crash', redelivered: false }
    expect(broken({ letters: {} })).toEqual(['requests ana inbox-1: lost'])
    expect(broken({ letters: { 'ana inbox-1': letter({ times: 2 }) } })).toEqual([
      'requests ana inbox-1: answered 2 times',
    ])
    expect(broken({ deadLetters: [dead] })).toEqual(['requests ana inbox-1: answered and given up'])
    expect(broken({ letters: {}, deadLetters: [{ ...dead, reason: '' }] })).toEqual([
      'requests ana inbox-1: given up without a reason',
    ])
    expect(broken({ letters: {}, deadLetters: [dead] })).toEqual([])
  })

  test('a process that waits for other code', () => {
    expect(broken({ diverged: ['order/D-1001'] })).toEqual(['diverged order/D-1001: waits for the code it began with'])
  })
})

describe('what is under way is not wrong', () => {
  test('a request in a mailbox, in hand, or as a letter on its way to the mailer', () => {
    const post = { target: 'mailer/main', op: 'answer', args: { customer: 'ana', request: 'inbox-1' } }
    for (const waiting of [[say], [post]]) expect(broken({ letters: {}, waiting })).toEqual([])
    expect(broken({ letters: {}, inHand: [say] })).toEqual([])
    expect(broken({ letters: {}, waiting: [{ ...say, target: 'concierge/bob' }] })).toHaveLength(1)
  })

  test('an order in the middle of its turn', () => {
    const inHand = [{ target: 'order/D-1001', op: 'cancel', args: null }]
    expect(broken({ inHand, accounts: { 'D-1001': { ...account(), refundedCents: 1_000 } } })).toEqual([])
  })
})

describe('outcome rate', () => {
  const line = { n: 1, customer: 'ana', text: 'two mugs' }
  const expectation = { intent: 'order' as const, outcome: 'ordered' as const, sku: 'MUG', quantity: 2 }
  const judge = (letters: Evidence['letters'], skip: string[] = []) =>
    outcomeRate([{ ...line, expect: [expectation] }], {
      accepted: new Map([['inbox-1', 'ana']]),
      letters,
      skip: new Set(skip),
    })

  test('counts a request as right when every intent has its outcome', () => {
    expect(judge({ 'ana inbox-1': letter() })).toEqual({ judged: 1, right: 1, wrong: [] })
    expect(judge({ 'ana inbox-1': letter({ settled: [] }) }).right).toBe(0)
    expect(judge({}).wrong[0]).toMatchObject({ request: 'inbox-1', expected: 'order ordered', found: '' })
  })

  test('leaves out what is under way, was never taken in, or has no expectation', () => {
    expect(judge({}, ['ana inbox-1']).judged).toBe(0)
    const evidenceOfNone = { accepted: new Map<string, string>(), letters: {}, skip: new Set<string>() }
    expect(outcomeRate([{ ...line, expect: [expectation] }], evidenceOfNone).judged).toBe(0)
    expect(outcomeRate([line], { ...evidenceOfNone, accepted: new Map([['inbox-1', 'ana']]) }).judged).toBe(0)
  })
})
