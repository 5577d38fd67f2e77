/**
 * What `desk:check` judges by: the state of every agent of the desk, what waits in mailboxes, what is in hand, and what
 * was given up, all read from the database as one instant saw it.
 */
import { readStore, type StoredProcess, type StoreReaderOptions } from 'vivarium'
import type { CourierState } from './courier.ts'
import type { DeskState } from './desk.ts'
import type { GremlinState } from './gremlin.ts'
import type { InventoryState } from './inventory.ts'
import type { LedgerState } from './ledger.ts'
import type { MailerState } from './mailer.ts'
import type { OrderState } from './order-state.ts'

export type Message = { target: string; op: string; args: unknown }
export type DeadLetter = Message & { reason: string; redelivered: boolean }

export type Evidence = {
  /** Requests taken in, and their customers: those of the desk and those of the gremlin. */
  accepted: ReadonlyMap<string, string>
  /** Inbox that the desk works through; null is the shipped one. */
  inbox: string | null
  shelves: ReadonlyMap<string, InventoryState>
  orders: ReadonlyMap<string, OrderState>
  accounts: LedgerState['accounts']
  letters: MailerState['sent']
  couriers: ReadonlyMap<string, CourierState>
  /** Waiting in a mailbox. */
  waiting: readonly Message[]
  /** The turn each process is in the middle of. */
  inHand: readonly Message[]
  deadLetters: readonly DeadLetter[]
  diverged: readonly string[]
}

export function readEvidence(store: StoreReaderOptions): Promise<Evidence> {
  return readStore(store, async (reader) => {
    const inHand: Message[] = []
    const diverged: string[] = []
    const all = async <S>(agent: string): Promise<Map<string, S>> => {
      const states = new Map<string, S>()
      for await (const process of reader.processes(agent)) {
        note(process, inHand, diverged)
        // Written by the agent of this very name; a process that was only just made has no state yet.
        if (process.state !== null) states.set(process.key, process.state as S)
      }
      return states
    }
    const desk = (await all<DeskState>('desk')).get('main')
    const gremlin = (await all<GremlinState>('gremlin')).get('main')
    await all('concierge')
    const messages = await reader.mailbox()
    return {
      accepted: new Map(Object.entries({ ...desk?.accepted, ...gremlin?.requests })),
      inbox: desk?.inbox ?? null,
      shelves: await all<InventoryState>('inventory'),
      orders: await all<OrderState>('order'),
      accounts: (await all<LedgerState>('ledger')).get('main')?.accounts ?? {},
      letters: (await all<MailerState>('mailer')).get('main')?.sent ?? {},
      couriers: await all<CourierState>('courier'),
      waiting: messages.map(({ target, op, args }) => ({ target, op, args })),
      inHand,
      deadLetters: (await reader.deadLetters()).map(({ process, op, args, reason, redelivered }) => ({
        ...{ target: process, op, args, reason, redelivered },
      })),
      diverged,
    }
  })
}

function note({ id, open, diverged }: StoredProcess, inHand: Message[], stuck: string[]): void {
  if (open !== null) inHand.push({ target: id, op: open.op, args: open.args })
  if (diverged) stuck.push(id)
}
