/**
 * Forty requests written before the recogniser had a line of code, kept apart from the inbox and never tuned on:
 * each starts a conversation of its own. They show how the rules do on wordings they were not made for.
 */
import type { Intent } from '../../examples/desk/intent.ts'

export const HELD_OUT: readonly (readonly [string, readonly Intent[]])[] = [
  ['Could you send over three ribbed tumblers?', [{ kind: 'order', sku: 'GLASS-RIBBED', quantity: 3, phrase: '' }]],
  ['got any monstera left', [{ kind: 'stock_question', sku: 'PLANT-MONSTERA', phrase: '' }]],
  ['what does the flip clock cost?', [{ kind: 'price_question', sku: 'CLOCK-FLIP', phrase: '' }]],
  ['Please cancel order D-0402.', [{ kind: 'cancel_order', orderId: 'D-0402' }]],
  ['when will D-0403 arrive?', [{ kind: 'order_status', orderId: 'D-0403' }]],
  ['Just wanted to say thank you!', [{ kind: 'thanks' }]],
  ['Good afternoon', [{ kind: 'greeting' }]],
  ["I'd like to talk to a member of staff.", [{ kind: 'human_handover' }]],
  ['Do you deliver to Iceland?', [{ kind: 'shipping_question' }]],
  ['Can I use a credit card?', [{ kind: 'payment_question' }]],
  ["I'd prefer not to receive your newsletter anymore", [{ kind: 'unsubscribe' }]],
  ['the vase I got was broken when I unpacked it', [{ kind: 'complaint', orderId: null }]],
  ["I'd like to return order D-0410", [{ kind: 'return_item', orderId: 'D-0410' }]],
  ["How's my refund for D-0411 coming along?", [{ kind: 'refund_status', orderId: 'D-0411' }]],
  ['Could I get a receipt for D-0412?', [{ kind: 'invoice_copy', orderId: 'D-0412' }]],
  ['Change D-0414 to five pieces', [{ kind: 'change_quantity', orderId: 'D-0414', sku: null, quantity: 5 }]],
  [
    'Please send D-0414 to 12 Elm Street, York YO1 7AB instead',
    [{ kind: 'change_address', orderId: 'D-0414', address: '12 Elm Street, York YO1 7AB' }],
  ],
  ['Any gift ideas for a dog under 15 euros?', [{ kind: 'recommendation', category: 'pets', maxCents: 1500 }]],
  [
    'One moka pot and two packs of filter papers, please',
    [
      {
        kind: 'order_several',
        lines: [
          { sku: 'MOKA-SIX', phrase: '', quantity: 1 },
          { sku: 'FILTER-PAPER', phrase: '', quantity: 2 },
        ],
      },
    ],
  ],
  ["I'll have a sleepng bag", [{ kind: 'order', sku: 'BAG-SLEEP', quantity: 1, phrase: '' }]],
  ['blah blah wibble', [{ kind: 'unclear' }]],
  ['I want to buy a spaceship', [{ kind: 'order', sku: null, quantity: 1, phrase: '' }]],
  [
    'Six beeswax candles and wrap them up as a gift',
    [
      { kind: 'order', sku: 'CANDLE-BEES', quantity: 6, phrase: '' },
      { kind: 'gift_wrap', orderId: 'new' },
    ],
  ],
  [
    'Is the hygrometer in stock and how much would I pay for it?',
    [
      { kind: 'stock_question', sku: 'THERMO-HYGRO', phrase: '' },
      { kind: 'price_question', sku: 'THERMO-HYGRO', phrase: '' },
    ],
  ],
  ['ten packs of tulip bulbs', [{ kind: 'order', sku: 'BULB-TULIP', quantity: 10, phrase: '' }]],
  [
    'cancel D-0401 and send me the invoice for D-0402',
    [
      { kind: 'cancel_order', orderId: 'D-0401' },
      { kind: 'invoice_copy', orderId: 'D-0402' },
    ],
  ],
  ['are there any knitted tea cosies available?', [{ kind: 'stock_question', sku: 'COSY-KNIT', phrase: '' }]],
  ['order me a pair of needle nose pliers', [{ kind: 'order', sku: 'PLIERS-NOSE', quantity: 1, phrase: '' }]],
  ['negative two apple crates', [{ kind: 'order', sku: null, quantity: -2, phrase: '' }]],
  [
    'How long does shipping to Spain take, and do you take Klarna?',
    [{ kind: 'shipping_question' }, { kind: 'payment_question' }],
  ],
  ['My parcel never showed up. D-0413.', [{ kind: 'complaint', orderId: 'D-0413' }]],
  [
    'I would like to purchase one wool blanket and one tablecloth',
    [
      {
        kind: 'order_several',
        lines: [
          { sku: 'BLANKET-WOOL', phrase: '', quantity: 1 },
          { sku: 'CLOTH-TABLE', phrase: '', quantity: 1 },
        ],
      },
    ],
  ],
  ['track D-0426', [{ kind: 'order_status', orderId: 'D-0426' }]],
  ['how many bath mats do you have', [{ kind: 'stock_question', sku: 'MAT-CORK', phrase: '' }]],
  ['Please gift wrap D-0420', [{ kind: 'gift_wrap', orderId: 'D-0420' }]],
  ["I'm really angry about how I was treated", [{ kind: 'complaint', orderId: null }]],
  [
    "I need 4 dinner plates and 4 ramen bowls, and what's the delivery cost?",
    [
      {
        kind: 'order_several',
        lines: [
          { sku: 'PLATE-SPECKLE', phrase: '', quantity: 4 },
          { sku: 'BOWL-RAMEN', phrase: '', quantity: 4 },
        ],
      },
      { kind: 'shipping_question' },
    ],
  ],
  ['Recommend a good lamp or some lighting', [{ kind: 'recommendation', category: 'lighting', maxCents: null }]],
  ["is the paring knife dear? what's its price", [{ kind: 'price_question', sku: 'KNIFE-PARING', phrase: '' }]],
  ['Get me an operator', [{ kind: 'human_handover' }]],
]
