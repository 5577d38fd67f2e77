/**
 * The desk's promises, each a function from the evidence to the rows that break it. No I/O.
 *
 * While the desk works, things are under way: what is in a mailbox or in the middle of a turn is `open`, not wrong.
 * Sums and doubles are never excused.
 */

import type { Product } from './catalogue.ts'
import { courierOf } from './courier.ts'
import type { Evidence, Message } from './evidence.ts'
import { balanceOf } from './ledger.ts'
import { letterKey } from './mailer.ts'
import { totalOf } from './order-state.ts'

export type Rule = 'stock' | 'holds' | 'charges' | 'parcels' | 'requests' | 'diverged'
export type Finding = { rule: Rule; row: string; what: string }

export function audit(evidence: Evidence, products: readonly Product[]): Finding[] {
  return [
    ...stock(evidence, products),
    ...holds(evidence),
    ...charges(evidence),
    ...parcels(evidence),
    ...requests(evidence),
    ...evidence.diverged.map((row) => ({ rule: 'diverged' as const, row, what: 'waits for the code it began with' })),
  ]
}

/** Per SKU stock + reserved + sold = what the catalogue put there. A shelf nobody asked for has not moved. */
function stock({ shelves }: Evidence, products: readonly Product[]): Finding[] {
  return products.flatMap(({ sku, stock: initial }) => {
    const shelf = shelves.get(sku)
    if (shelf === undefined || !shelf.stocked) return []
    const { stock: left, reserved, sold, holds: held } = shelf
    const sum = left + reserved + sold
    const heldSum = Object.values(held).reduce((total, units) => total + units, 0)
    const row = `inventory/${sku}`
    const found: Finding[] = []
    if (sum !== initial)
      found.push({ rule: 'stock', row, what: `${left} + ${reserved} + ${sold} = ${sum}, not ${initial}` })
    if (Math.min(left, reserved, sold) < 0)
      found.push({ rule: 'stock', row, what: `${left}, ${reserved}, ${sold}: below zero` })
    if (heldSum !== reserved)
      found.push({ rule: 'stock', row, what: `holds sum to ${heldSum}, reserved is ${reserved}` })
    return found
  })
}

/** What shelves hold and sold is what orders say, for every order at rest. */
function holds(evidence: Evidence): Finding[] {
  const busy = busyIds(evidence)
  const sold = new Map<string, number>()
  const found: Finding[] = []
  for (const [id, order] of evidence.orders) {
    if (order.archived) continue
    const moving = busy.has(`order/${id}`)
    for (const { sku, quantity } of order.lines) {
      if (order.status === 'shipped') sold.set(sku, (sold.get(sku) ?? 0) + quantity)
      if (moving) sold.set(sku, Number.NaN)
      const held = evidence.shelves.get(sku)?.holds[id] ?? 0
      const right = order.status === 'paid' ? quantity : 0
      if (!moving && held !== right) {
        found.push({
          rule: 'holds',
          row: `inventory/${sku}`,
          what: `holds ${held} for ${id} (${order.status}), not ${right}`,
        })
      }
    }
  }
  for (const [sku, shelf] of evidence.shelves) {
    const right = sold.get(sku) ?? 0
    if (!Number.isNaN(right) && shelf.sold !== right) {
      found.push({ rule: 'holds', row: `inventory/${sku}`, what: `sold ${shelf.sold}, orders shipped ${right}` })
    }
  }
  return found
}

/** At most one charge per order, ever; for an order at rest exactly what it owes. */
function charges(evidence: Evidence): Finding[] {
  const busy = busyIds(evidence)
  const found: Finding[] = []
  for (const [id, account] of Object.entries(evidence.accounts)) {
    const { length } = account.charges
    if (length > 1) found.push({ rule: 'charges', row: id, what: `charged ${length} times` })
  }
  for (const [id, order] of evidence.orders) {
    if (order.archived || busy.has(`order/${id}`)) continue
    const account = evidence.accounts[id]
    const balance = account === undefined ? 0 : balanceOf(account)
    const owed = order.status === 'paid' || order.status === 'shipped' ? totalOf(order) : 0
    if (balance !== owed) {
      found.push({ rule: 'charges', row: id, what: `${order.status}: ${balance} cents were taken, ${owed} are owed` })
    }
  }
  return found
}

/** Each parcel is handed over once, and none gets lost between the order and the door. */
function parcels(evidence: Evidence): Finding[] {
  const busy = busyIds(evidence)
  const found: Finding[] = []
  for (const [courier, { delivered }] of evidence.couriers) {
    for (const [id, times] of Object.entries(delivered)) {
      if (times > 1) found.push({ rule: 'parcels', row: id, what: `handed over ${times} times by ${courier}` })
    }
  }
  const dead = new Set(evidence.deadLetters.filter(({ op }) => op === 'take' || op === 'handOver').map(orderOf))
  const waiting = new Set([...evidence.waiting, ...evidence.inHand].map(orderOf))
  for (const [id, { status, archived }] of evidence.orders) {
    if (status !== 'shipped' || archived || busy.has(`order/${id}`)) continue
    const courier = evidence.couriers.get(courierOf(id))
    const known = courier?.delivered[id] !== undefined || courier?.onTheRoad[id] !== undefined
    if (!known && !waiting.has(id) && !dead.has(id)) found.push({ rule: 'parcels', row: id, what: 'shipped and lost' })
  }
  return found
}

/** Each request has exactly one outcome: one letter, or a dead letter with a reason. */
function requests(evidence: Evidence): Finding[] {
  const found: Finding[] = []
  for (const [key, { times }] of Object.entries(evidence.letters)) {
    if (times !== 1) found.push({ rule: 'requests', row: key, what: `answered ${times} times` })
  }
  const dead = new Map(evidence.deadLetters.map((letter) => [requestKey(letter), letter]))
  const open = openRequests(evidence)
  for (const [request, customer] of evidence.accepted) {
    const key = letterKey({ customer, request })
    const letter = dead.get(key)
    const answered = evidence.letters[key] !== undefined
    if (letter !== undefined && letter.reason === '')
      found.push({ rule: 'requests', row: key, what: 'given up without a reason' })
    if (letter !== undefined && answered && !letter.redelivered) {
      found.push({ rule: 'requests', row: key, what: 'answered and given up' })
    }
    if (letter === undefined && !answered && !open.has(key)) found.push({ rule: 'requests', row: key, what: 'lost' })
  }
  return found
}

/** Requests that wait or are in hand, at the concierge or, as a letter, at the mailer. */
export function openRequests({ waiting, inHand }: Evidence): Set<string> {
  return new Set([...waiting, ...inHand].flatMap((message) => requestKey(message) ?? []))
}

function requestKey({ target, op, args }: Message): string | null {
  const request = field(args, 'request')
  if (request === null) return null
  if (op === 'say' && target.startsWith('concierge/')) {
    return letterKey({ customer: target.slice('concierge/'.length), request })
  }
  const customer = field(args, 'customer')
  return op === 'answer' && target === 'mailer/main' && customer !== null ? letterKey({ customer, request }) : null
}

function orderOf({ args }: Message): string | null {
  return typeof args === 'string' ? args : field(args, 'order')
}

function field(value: unknown, name: string): string | null {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
  return typeof found === 'string' ? found : null
}

function busyIds({ waiting, inHand }: Evidence): Set<string> {
  return new Set([...waiting, ...inHand].map(({ target }) => target))
}
