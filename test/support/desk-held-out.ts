/**
 * Requests kept apart from the inbox, to see how the rules do on wordings they were not made for. Each starts a
 * conversation of its own.
 */
import type { Intent } from '../../examples/desk/intent.ts'

/** Forty plain requests written before the recogniser had a line of code (38 right in its first run). */
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

/**
 * Forty more in wordings chosen to be far from the rules, written after those were last widened: the honest figure
 * for strangers. Never tune on them; write new ones once the rules have seen these.
 */
export const BLIND: readonly (readonly [string, readonly Intent[]])[] = [
  ['could u put aside a pair of stoneware mugs for me', [{ kind: 'order', sku: 'MUG-STONE', quantity: 2, phrase: '' }]],
  ["I'm looking to buy the weekend bag", [{ kind: 'order', sku: 'BAG-WEEKEND', quantity: 1, phrase: '' }]],
  ['Four garden kneelers to go, thank you', [{ kind: 'order', sku: 'KNEELER-FOAM', quantity: 4, phrase: '' }]],
  [
    'Please supply 20 gel pens and 5 lined notebooks',
    [
      {
        kind: 'order_several',
        lines: [
          { sku: 'PEN-GEL', phrase: '', quantity: 20 },
          { sku: 'NOTE-LINED', phrase: '', quantity: 5 },
        ],
      },
    ],
  ],
  ["We'd be glad of a chess set", [{ kind: 'order', sku: 'CHESS-FOLD', quantity: 1, phrase: '' }]],
  ['Has the head torch sold out', [{ kind: 'stock_question', sku: 'TORCH-HEAD', phrase: '' }]],
  ['Is there any sencha to be had?', [{ kind: 'stock_question', sku: 'TEA-SENCHA', phrase: '' }]],
  ['Are you expecting more fiddle leaf figs?', [{ kind: 'stock_question', sku: 'PLANT-FIG', phrase: '' }]],
  ["What's the asking price on the dutch oven?", [{ kind: 'price_question', sku: 'POT-DUTCH', phrase: '' }]],
  ['How much would two box graters come to?', [{ kind: 'price_question', sku: 'GRATER-BOX', phrase: '' }]],
  ['I no longer require D-0402, kindly void it', [{ kind: 'cancel_order', orderId: 'D-0402' }]],
  ['Stop D-0413!', [{ kind: 'cancel_order', orderId: 'D-0413' }]],
  ['my order D-0426 still hasnt turned up, where could it be', [{ kind: 'order_status', orderId: 'D-0426' }]],
  ['When should I expect D-0418?', [{ kind: 'order_status', orderId: 'D-0418' }]],
  ['is D-0422 on the van yet', [{ kind: 'order_status', orderId: 'D-0422' }]],
  [
    'D-0420 ought to be three pieces, please correct that',
    [{ kind: 'change_quantity', orderId: 'D-0420', sku: null, quantity: 3 }],
  ],
  [
    'Kindly forward D-0413 to 8 Brook Street, Derby DE1 2AA',
    [{ kind: 'change_address', orderId: 'D-0413', address: '8 Brook Street, Derby DE1 2AA' }],
  ],
  [
    'I live somewhere else now: 31 Park Avenue, Bristol BS1 5TT',
    [{ kind: 'change_address', orderId: null, address: '31 Park Avenue, Bristol BS1 5TT' }],
  ],
  ['How do I go about returning D-0423?', [{ kind: 'return_item', orderId: 'D-0423' }]],
  ["D-0417 goes back, I don't like it", [{ kind: 'return_item', orderId: 'D-0417' }]],
  ['You owe me the money for D-0429, when is it coming?', [{ kind: 'refund_status', orderId: 'D-0429' }]],
  ['Was D-0405 refunded?', [{ kind: 'refund_status', orderId: 'D-0405' }]],
  ['The lantern you sent is full of rust', [{ kind: 'complaint', orderId: null }]],
  ['Shame on you, that delivery driver swore at my mother', [{ kind: 'complaint', orderId: null }]],
  ['Please mail me an invoice copy of D-0419', [{ kind: 'invoice_copy', orderId: 'D-0419' }]],
  ['My boss wants a receipt. D-0427.', [{ kind: 'invoice_copy', orderId: 'D-0427' }]],
  ['Can D-0416 come in gift wrap?', [{ kind: 'gift_wrap', orderId: 'D-0416' }]],
  ['How does shipping to the Canary Islands work', [{ kind: 'shipping_question' }]],
  ["What's your delivery time?", [{ kind: 'shipping_question' }]],
  ['may I settle by cheque', [{ kind: 'payment_question' }]],
  ['which forms of payment are possible', [{ kind: 'payment_question' }]],
  [
    'what might an eight year old enjoy from your toys, tops 30 euro',
    [{ kind: 'recommendation', category: 'toys', maxCents: 3000 }],
  ],
  ['Surprise me with a tip for the kitchen', [{ kind: 'recommendation', category: 'kitchen', maxCents: null }]],
  ['is there a human behind this', [{ kind: 'human_handover' }]],
  ['Connect me with support staff please', [{ kind: 'human_handover' }]],
  ['good morrow', [{ kind: 'greeting' }]],
  ['Much appreciated!', [{ kind: 'thanks' }]],
  ['kindly cease all advertising mails', [{ kind: 'unsubscribe' }]],
  [
    'Bath mat and a nail brush, and could you tell me the price of the bathrobe?',
    [
      {
        kind: 'order_several',
        lines: [
          { sku: 'MAT-CORK', phrase: '', quantity: 1 },
          { sku: 'BRUSH-NAIL', phrase: '', quantity: 1 },
        ],
      },
      { kind: 'price_question', sku: 'ROBE-WAFFLE', phrase: '' },
    ],
  ],
  ['fish fish fish', [{ kind: 'unclear' }]],
]
