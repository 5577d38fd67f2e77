/**
 * The wordings that give an intent away, applied to masked text (see reading.ts: no capitals, no apostrophes).
 *
 * A table, not code: to teach the desk a wording, add it to a pattern of its kind. `unless` is looked up in the
 * whole sentence and takes the cue back.
 */
import type { IntentKind } from './intent.ts'

export type CueKind = Exclude<IntentKind, 'order_several' | 'unclear' | 'change_quantity'>

type Wording = { kind: CueKind; pattern: RegExp; unless?: RegExp }

/** Patterns too long for a line, cut after an alternative. */
const cue = (...parts: string[]) => new RegExp(parts.join(''), 'g')
const veto = (...parts: string[]) => new RegExp(parts.join(''))

export const WORDINGS: readonly Wording[] = [
  {
    kind: 'human_handover',
    pattern: /\b(humans?|operator|supervisor|your manager|the manager|living 1|staff|by voice)\b/g,
  },
  {
    kind: 'human_handover',
    pattern: cue(
      String.raw`\b(speak|talk|put me through|ring me|call me|dial|phone)\b[^.?!]*\b(person|someone|somebody|`,
      String.raw`agent|lady|colleague|people|optics)\b`,
    ),
  },
  {
    kind: 'human_handover',
    pattern: cue(
      String.raw`\b(person|someone|somebody|colleague)\b[^.?!]*\b(please|not a robot|call|ring|talk|phone|`,
      String.raw`speak)\b|\b(real|to a|is a) person\b`,
    ),
  },
  {
    kind: 'unsubscribe',
    pattern: cue(
      String.raw`\b(unsubscribe|not hear from you|(stop|off|no more|never want|remove|dont want|not to receive|`,
      String.raw`not receive|cease)\b[^.?!]*\b(newsletters?|mails?|mailing|marketing|promotional|emails?|`,
      String.raw`lists?))\b`,
    ),
  },
  {
    kind: 'payment_question',
    pattern: cue(
      String.raw`\b(how (do|can|could|should) i pay|how i can pay|(can|could|may) i (pay|use a)|pay (by|in|with)|`,
      'to pay with|paypal|apple pay|google pay|klarna|bank transfer|cheques?|vouchers?|credit cards?|',
      String.raw`card details|(which|what) cards|payment (methods?|options?)|methods of payment|take cards?)\b`,
    ),
  },
  {
    kind: 'shipping_question',
    pattern: cue(
      String.raw`\b(shipping|postage|delivery (times?|costs?|charges?|slots?|to)|(do|can|could|will) (you|they|`,
      String.raw`couriers of yours) (ship|deliver|post)\b|how (long|quick|fast|soon)[^.?!]*(deliver|ship)\w*|`,
      '(for|until|cost of) delivery|customs|weight limit|post a parcel|courier comes|when would (they|',
      String.raw`it) be delivered|ship to [a-z]+)\b`,
    ),
    unless: /\b(deliver|ship)\w* (it |them )?to addr_|ship to the usual/,
  },
  {
    kind: 'order_status',
    pattern: cue(
      String.raw`\b((where|whereabouts|wheres|whither)( is| are|s)? (ord_|my (order|parcel|package|stuff)|our|`,
      String.raw`that|this|it\b|they|has my)|where has my|where will (it|they)|wheres it at|whereabouts|`,
      String.raw`order status|status of|status\b|state of ord|track|eta|progress of|happening with|became of|`,
      'has it shipped|is it shipped|order ships?|(does|do|did) the order ship|when (does|do|will|would|',
      'is) (that|it|they|this|my|ord_)[^.?!]*(go out|arrive|come|here|ship)|got to$|hows my (order|',
      'parcel)|check on ord|look where)',
    ),
    unless: /\brefund|ord_\d+ lists|paperwork/,
  },
  {
    kind: 'refund_status',
    pattern: /\b(refund(s|ed)?|money\b[^.?!]*\bpaid back|my money back|give me back my)\b/g,
  },
  {
    kind: 'return_item',
    pattern: cue(
      String.raw`(?<!\b(my|the) )\b(return (it|this|that|ord_|the (item|order)|order|what|to sender)|(to|a|`,
      String.raw`me) return\b|return\b(?= ord_)|(hand|send|give|ship) (it|this|that|them|ord_\d+) back|`,
      String.raw`ord_\d+ taken back|be taken back|returnable)`,
    ),
  },
  {
    kind: 'complaint',
    pattern: cue(
      String.raw`\b(broken|crack(ed|s)?|smashed|snapped|leaks?|dribbles|burnt|soaking|ruined|missing|shrank|`,
      'fell off|frayed|came undone|damaged|faulty|squeaks|blunt|torn|poor quality|wrong (size|colour|',
      'item)|not impressed|useless|worst|rubbish|disgrace|furious|angry|unhappy|cross with|complain|',
      'complaint|compensation|apology|explain yourselves|never (arrived|received|recieved|showed|came)|',
      'i never (received|recieved)|nothing here|hasnt (come|arrived)|ate my|i never ordered|',
      String.raw`arrived open)\b`,
    ),
  },
  {
    kind: 'gift_wrap',
    pattern: /\b(gift[- ]?wrap\w*|(gift|wrapping) paper|wrapp?(ed|ing)?\b|wraps?\b|as a (present|gift))/g,
    unless: /\bwrap nothing\b/,
  },
  { kind: 'invoice_copy', pattern: /\b(invoice|receipt|send the bill|paperwork)\b/g },
  {
    kind: 'cancel_order',
    pattern: cue(
      String.raw`\b(cancel(l?ed|ling)?|cncel|cansel|call off|(scratch|bin|kill|drop|undo|annul|void|scrap) (that|`,
      String.raw`the|my|this)\b|do away with|get rid of|stopped before)`,
    ),
  },
  {
    kind: 'change_address',
    pattern: /\baddr_\d+|\baddress\b[^.?!]*\bwrong\b|\bwrong address\b|\b(change|update|new) (my |the )?address\b/g,
  },
  {
    kind: 'recommendation',
    pattern: cue(
      String.raw`\b(recommend\w*|suggest\w*|ideas|any tips|anything (nice|else)|something nice|which of your|`,
      String.raw`know a good|help me choose|need a present|anything in the)\b`,
    ),
    unless: /\bideas of\b/,
  },
  {
    kind: 'price_question',
    pattern:
      /\b(prices?|costs?|how much|charge for|damage for|expensive|costly|a quote|go for\b|cheaper|dear\b(?= |$))/g,
    unless: veto(
      String.raw`^(?!.*prod_).*\b(shipping|postage|ship|deliver\w*|post)\b|\b(delivery|shipping|`,
      String.raw`postage)( \w+)? (costs?|charges?|prices?)|^dear\b|\bset price`,
    ),
  },
  {
    kind: 'stock_question',
    pattern: cue(
      String.raw`(^got\b|\b(back )?in(to)? stock|return to stock|available|availability|obtainable|do (you|`,
      String.raw`u)( guys)? (still |ever )?(have|sell|do|stock)\b|whether you have|have you( got)?( any)?\b|`,
      String.raw`have any\b|got (any|both|a)\b|you(ve)? got\b|r they in\b|(is|are) [^.?!,]{1,40} in$|`,
      String.raw`any [^.?!]* left|are there any|be back|how many [^.?!]*(have|get)|you have\b|you stock|`,
      String.raw`least stock|whether its there\b)`,
    ),
    unless: /\bsales\b|\bpayment\b/,
  },
  {
    kind: 'order',
    pattern: cue(
      String.raw`(?<!\b(my|the|that|this|every|any|your|whole|new|from|last|an|of|off|separate|old|poor|`,
      String.raw`prod_\d+) )\border\b(?! (status|number|ord_|of yesterday))|\b(buy(ing)?|purchase|`,
      String.raw`get me(?! (some(body|one)|an? (human|operator|person|agent)))|gimme|give me|give(?= \d)|`,
      'id (also )?(like|love)|i would (like|love)|ill (take|have|want)|(to |we|i|wld |would )?(want|',
      'need)( to buy)?|need:|send( me| over)?|ship me|put me down|put 1 aside|reserve|procure|',
      String.raw`dispatch(?!ed)|add|(can|could|may) i (get|have)|like(?= \d)|have to do|required|place an order|`,
      String.raw`go ahead)\b`,
    ),
  },
  {
    kind: 'human_handover',
    pattern: cue(
      String.raw`\b(your boss|the boss|a manager|customer services?|someone in charge|live agent|a rep|`,
      String.raw`a representative|human being|call me back|ring me back)\b`,
    ),
  },
  {
    kind: 'unsubscribe',
    pattern: cue(
      String.raw`\b((delete|take|remove|drop|get|cut) me (from|off)\b|opt(ing)? out|(stop|quit) (writing|`,
      'emailing|mailing|messaging|spamming|texting)|leave me alone|too (many|much) (emails?|',
      'newsletters?|spam))',
    ),
  },
  {
    kind: 'payment_question',
    pattern: cue(
      String.raw`\b(american express|amex|visa|mastercard|maestro|google wallet|bitcoin|crypto|in cash|`,
      String.raw`instal?ments?|pay (on|later|via|with|at|over)|(accept|take) [^.?!]*\bcards?|debit cards?|`,
      String.raw`gift cards?)\b`,
    ),
  },
  {
    kind: 'shipping_question',
    pattern: cue(
      String.raw`\b((express|next[- ]day|same[- ]day|free|weekend|overnight|international) (delivery|shipping)|`,
      'delivery (options?|days?|fees?|charges)|(ship|deliver|post|send) (abroad|overseas|',
      'internationally|on (saturdays?|sundays?|weekends?))|(ship|deliver|post) (things |stuff |',
      String.raw`parcels )?to [a-z]+|(collect|pick up) in person|which couriers?|parcel lockers?)\b`,
    ),
    unless: /\b(deliver|ship|post)\w* (it |them )?to (addr_|the usual)/,
  },
  {
    kind: 'order_status',
    pattern: cue(
      String.raw`\b(ord_\d+ (left|shipped|gone out|on its way|been (sent|shipped|dispatched|posted))|(update|`,
      String.raw`news|word) (on|about|of|from) (my|the|ord_\d+|that)|still waiting (for|on) (my|ord_\d+)|`,
      String.raw`tracking|delivered yet|arrived yet|how far (is|along)|on its way|expect (my|ord_\d+)|`,
      String.raw`what about (my order|ord_\d+)$|(my )?(order|parcel|package) (been )?(shipped|sent|dispatched|`,
      String.raw`left))\b`,
    ),
    unless: /\brefund/,
  },
  {
    kind: 'refund_status',
    pattern: cue(
      String.raw`\b((get|see|have|had|got|receive) my money\b|reimburs\w+|money (been )?returned|paid me back|`,
      'pay me back|credited)',
    ),
  },
  {
    kind: 'return_item',
    pattern: cue(
      String.raw`\b(send(ing)? (it |this |these |them )?back( ord_\d+)?|(bring|hand|ship|post|give|take|`,
      String.raw`taking)(ing)? (it |this |these |them |ord_\d+ )back|returning|exchange|return label)\b`,
    ),
  },
  {
    kind: 'complaint',
    pattern: cue(
      String.raw`\b(chipped|was empty|scratched|dented|stained|bent|spoilt|mouldy|(doesnt|didnt|wont|`,
      'stopped) work(ing)?|outrageous|terrible|awful|appalling|dreadful|disappointed|disappointing|',
      'disgusting|unacceptable|defective|in pieces|wrong (one|thing|product|order|things)|overcharged|',
      'charged (me )?twice|fed up|scandal|a joke|shoddy|incompetent|ridiculous|unhelpful|rude|',
      String.raw`late again|days late|weeks late|ripped|rusty|wobbly|falling apart|fell apart|came apart)\b`,
    ),
  },
  {
    kind: 'gift_wrap',
    pattern: /\b(gift box|in nice paper|with a (bow|ribbon)|its a (present|gift)|make it a gift)\b/g,
  },
  {
    kind: 'invoice_copy',
    pattern: /\b((the|a|my) bill (for|of)|invoices|receipts|vat (slip|document)|proof of purchase)\b/g,
  },
  {
    kind: 'cancel_order',
    pattern: cue(
      String.raw`\b(cancellation|changed my mind (about|on) (ord_\d+|the order|it)|(remove|delete|stop|withdraw|`,
      String.raw`forget|revoke|abort|pull) (the |my |that )?(prod_\d+ )?(order|ord_\d+)|(dont|no longer|`,
      String.raw`do not) (want|need|send) (ord_\d+|the order|my order|that order)|call it off|dont (send|`,
      String.raw`ship) it)\b`,
    ),
  },
  {
    kind: 'recommendation',
    pattern: cue(
      String.raw`\b(what would you (get|buy|give|pick|choose)|something (for (a|my|the|our)|to (give|cheer))|`,
      '(gift|present) for (a|my|the|our)|any thoughts on|(help me|trying to|cant) (find|pick|decide)|',
      String.raw`what do you have for|whats good|which [a-z]+ (is|are) best|best [a-z]+ for|any ideas?)\b`,
    ),
    unless: /\bprod_/,
  },
  {
    kind: 'price_question',
    pattern: cue(
      String.raw`\b(set me back|priced|price tag|what do you want for|how dear|worth paying|pay for (a|the|one|`,
      String.raw`1)\b|going rate)\b`,
    ),
  },
  {
    kind: 'stock_question',
    pattern: cue(
      String.raw`\b(sold out|still exist|out of stock|in yet|carry|run out of|ran out of|left in|any more of|`,
      String.raw`on the shelf|got 1|stocked)\b`,
    ),
    unless: /\bran out so\b/,
  },
  {
    kind: 'order',
    pattern: cue(
      String.raw`\b(throw in|(set|hook) me up with|fancy|(could|can|may) we (get|have)|let me have|grab( me)?|`,
      'stick|chuck in|ill (buy|get|grab|go for)|we(d| would) like|lets get|lets have|pop|sell me|',
      String.raw`bring me|deliver me)\b`,
    ),
  },
]
