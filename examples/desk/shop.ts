/**
 * The shop's data, read once: what is sold, what was sold before today, and where the shipped inbox lies.
 *
 * Read-only. Everything that changes is the state of an agent.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ArchivedOrder, Product } from './catalogue.ts'

/** Committed data; test/unit/desk-corpus.test.ts proves their shape. */
export const products = read('catalogue.json') as readonly Product[]
const archive = read('archive.json') as readonly ArchivedOrder[]

const bySku: ReadonlyMap<string, Product> = new Map(products.map((product) => [product.sku, product]))
const byId: ReadonlyMap<string, ArchivedOrder> = new Map(archive.map((order) => [order.id, order]))

export const shippedInbox = fileURLToPath(new URL('inbox.jsonl', import.meta.url))

export function productOf(sku: string): Product | undefined {
  return bySku.get(sku)
}

/** An order from before the desk opened. */
export function archivedOrder(id: string): ArchivedOrder | undefined {
  return byId.get(id)
}

export function euros(cents: number): string {
  return `€${(cents / 100).toFixed(2)}`
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
}
