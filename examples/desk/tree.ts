/**
 * The supervision tree of the desk. Run it with `viv start examples/desk/tree.ts`, or as an app of its own: main.ts.
 *
 *   supervisor/shop (one_for_one)          nothing here depends on its neighbours
 *   ├─ supervisor/floor (one_for_one)
 *   │  ├─ pool/concierge  pool/order  pool/inventory      one process per key, started by its first message
 *   ├─ supervisor/delivery (one_for_all)   vans without a radio are no use: if one side dies, both start over
 *   │  ├─ radio/main
 *   │  └─ supervisor/vans (one_for_one)    a van that breaks down is nobody else's trouble
 *   │     └─ courier/north  courier/south
 *   └─ supervisor/office (rest_for_one)    each one relies on those before it
 *      ├─ ledger/main  mailer/main  desk/main  gremlin/main
 *
 * A durable agent that crashes over a message is restarted as its strategy says, but the crash is charged to the
 * message, never to `intensity`: the third time the message is put aside as a dead letter and the agent goes on. What
 * counts against `intensity` are crashes without a message, and those of the radio, which is ephemeral.
 */
import { pool, supervisor } from 'vivarium'
import { concierge } from './concierge.ts'
import { COURIERS, courier } from './courier.ts'
import { desk } from './desk.ts'
import { gremlin } from './gremlin.ts'
import { inventory } from './inventory.ts'
import { ledger } from './ledger.ts'
import { mailer } from './mailer.ts'
import { order } from './order.ts'
import { radio } from './radio.ts'

const floor = supervisor('floor', {
  strategy: 'one_for_one',
  children: [pool(concierge), pool(order), pool(inventory)],
})

const vans = supervisor('vans', {
  strategy: 'one_for_one',
  children: COURIERS.map((key) => courier.spec({ key })),
})

const delivery = supervisor('delivery', {
  strategy: 'one_for_all',
  intensity: 5,
  periodMs: 30_000,
  children: [radio.spec({ key: 'main' }), vans],
})

const office = supervisor('office', {
  strategy: 'rest_for_one',
  children: [
    ledger.spec({ key: 'main' }),
    mailer.spec({ key: 'main' }),
    desk.spec({ key: 'main' }),
    gremlin.spec({ key: 'main' }),
  ],
})

export default supervisor('shop', { strategy: 'one_for_one', children: [floor, delivery, office] })
