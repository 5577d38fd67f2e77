/**
 * Promises against states: what was promised happened, nothing happened twice, and the money adds up. The states come
 * from the journal as an activation reads it; what was promised, from files the children wrote.
 */
import type { StoreReader } from 'vivarium'
import { type AccountState, type ClerkState, type DoneState, type Effect, OPENING, receiptOf, slipsOf } from './bank.ts'
import type { ErrandState, RelicState } from './errand.ts'
import { type Errand, type Facts, isStarted, type Operation } from './fact.ts'
import type { Rows } from './rows.ts'

export type World = {
  /** How often each deed was done, by agent kind: `account:add r1-7`. */
  deeds: ReadonlyMap<string, number>
  /** Sum of all balances, less what accounts began with. */
  gained: number
  /** Payments whose receipt is kept and is not what it was. */
  spoilt: string[]
  /** What errands came to, by their name and id. */
  said: ReadonlyMap<string, string>
  /** How often each signal was received or handled. */
  dishes: ReadonlyMap<string, number>
  /** State versions by the states themselves, by process. */
  versions: ReadonlyMap<string, number>
}

const ERRANDERS: Record<Errand, string> = {
  nap: 'sleeper',
  order: 'waiter',
  forge: 'smith',
  ship: 'depot',
  tell: 'scribe',
  deal: 'broker',
  renew: 'relic',
}
const BANKERS = ['account', 'purse', 'teller', 'clerk', 'clock', 'guest', 'till', 'annals']
const AGENTS = [...BANKERS, ...Object.values(ERRANDERS)]

type Known = DoneState &
  Partial<ClerkState & AccountState & ErrandState & RelicState> & { dishes?: Record<string, number> }

export async function readWorld(reader: StoreReader): Promise<World> {
  const deeds = new Map<string, number>()
  const spoilt: string[] = []
  const said = new Map<string, string>()
  const dishes = new Map<string, number>()
  const versions = new Map<string, number>()
  let gained = 0
  for (const agent of AGENTS) {
    for await (const { id, state } of reader.processes(agent)) {
      if (state === null) continue
      const known = state as unknown as Known // the shapes of bank.ts and errand.ts
      if (known.balance !== undefined) gained += known.balance - OPENING
      const { receipt = null } = known
      if (receipt !== null && receipt.text !== receiptOf(receipt.id)) spoilt.push(receipt.id)
      for (const [what, times] of Object.entries(known.done)) {
        deeds.set(`${agent}:${what}`, (deeds.get(`${agent}:${what}`) ?? 0) + times)
      }
      for (const [what, text] of Object.entries(known.said ?? {})) said.set(what, text)
      for (const [dish, times] of Object.entries(known.dishes ?? {})) dishes.set(dish, times)
      if (known.version !== undefined) versions.set(id, known.version)
    }
  }
  return { deeds, gained, spoilt, said, dishes, versions }
}

/** Rows of the app's own table, by move: written by transactions, so each is there with the state or not at all. */
export async function readSlips({ sql, schema }: Rows): Promise<Map<string, number>> {
  const table = slipsOf(schema)
  const [found] = await sql`select to_regclass(${`public.${table}`}) is not null as exists`
  if (found?.['exists'] !== true) return new Map()
  const rows = await sql<{ id: string; n: number }[]>`select id, count(*)::int as n from ${sql(table)} group by id`
  return new Map(rows.map(({ id, n }) => [`slip:move ${id}`, n]))
}

/** What an operation leaves behind when all of it happened. */
function deedsOf(id: string, op: Operation): string[] {
  switch (op.kind) {
    case 'move':
      return [`teller:move ${id}`, `slip:move ${id}`, `account:take ${id}`, `account:add ${id}`]
    case 'push':
      return [`purse:take ${id}`, `account:add ${id}`]
    case 'add':
      return [`account:add ${id}`]
    case 'pay':
    case 'tip':
      return [`clerk:pay ${id}`]
    case 'alarm':
      return [`clock:alarm ${id}`, `clock:ring ${id}`]
    case 'visit':
      return [`guest:visit ${id}`, `till:tick ${id}`]
    case 'note':
      return [`annals:write ${id}`]
    case 'errand':
      return [`${ERRANDERS[op.of]}:${op.of} ${id}`, ...besides(id, op.of)]
    case 'saga': // what became of it is judged by checker-saga.ts
      return []
    default:
      return op satisfies never
  }
}

/** What an errand does beside itself. */
function besides(id: string, of: Errand): string[] {
  if (of === 'order') return [`waiter:bill ${id}`]
  return of === 'deal' ? [`account:add ${id}`] : []
}

export function checkPromises(facts: Facts, world: World): string[] {
  const found: string[] = []
  let given = 0
  const expected = new Set<string>()
  for (const [id, op] of facts.wanted) {
    const deeds = deedsOf(id, op)
    for (const deed of deeds) expected.add(deed)
    const times = deeds.map((deed) => world.deeds.get(deed) ?? 0)
    const list = deeds.map((deed, i) => `${deed} × ${times[i]}`).join(', ')
    if (times.some((n) => n > 1)) found.push(`doubled: ${list}`)
    else if (new Set(times).size > 1) found.push(`half done: ${list}`)
    else if (times[0] === 0 && (facts.done.has(id) || isStarted(op))) found.push(`lost: ${list}`)
    const gives = op.kind === 'add' || (op.kind === 'errand' && op.of === 'deal')
    if (gives && times[0] === 1) given += op.amount
  }
  for (const deed of world.deeds.keys()) if (!expected.has(deed)) found.push(`nobody asked for ${deed}`)
  for (const id of world.spoilt) found.push(`the receipt of ${id} is not what it was`)
  if (given !== world.gained) found.push(`${given} was put in and ${world.gained} is there`)
  for (const [id, why] of facts.failed) found.push(`${id} was refused: ${why}`)
  return found
}

/** At least once outside, under one key per step; and what was done outside is known inside. */
export function checkEffects(effects: readonly Effect[], facts: Facts, world: World): string[] {
  const keys = new Map<string, Set<string>>()
  for (const { id, step, key } of effects) {
    const name = `${step} ${id}`
    keys.set(name, (keys.get(name) ?? new Set()).add(key))
  }
  const found: string[] = []
  for (const [name, used] of keys) if (used.size > 1) found.push(`${name} has ${used.size} idempotency keys`)
  const all = new Set([...keys.values()].flatMap((used) => [...used]))
  if (all.size !== keys.size) found.push('two steps share an idempotency key')
  for (const [id, op] of facts.wanted) {
    if (op.kind !== 'pay' && op.kind !== 'tip') continue
    const paid = world.deeds.has(`clerk:pay ${id}`)
    const steps = ['charge', 'book', 'ship'].filter((step) => keys.has(`${step} ${id}`))
    // T3: the first step runs only after its turn was accepted, so whatever was charged comes to its end.
    if (paid && steps.length < 3) found.push(`${id} is paid and only ${steps.join(', ')} happened outside`)
    if (!paid && steps.length > 0) found.push(`${id} was ${steps.join(', ')} outside and is not paid`)
  }
  return found
}
