/**
 * The wordings that give an intent away, applied to masked text (see reading.ts: no capitals, no apostrophes).
 *
 * A table, not code: to teach the desk a wording, add it to the pattern of its kind. `unless` is looked up in
 * the whole sentence and takes the cue back.
 */
import type { IntentKind } from './intent.ts'

export type CueKind = Exclude<IntentKind, 'order_several' | 'unclear' | 'change_quantity'>
export type Cue = { kind: CueKind; start: number; end: number }
type Rule = { kind: CueKind; pattern: RegExp; unless?: RegExp }

const RULES: Rule[] = [
  {
    kind: 'human_handover',
    pattern: /\b(humans?|operator|supervisor|your manager|the manager|living 1|staff|by voice)\b/g,
  },
  {
    kind: 'human_handover',
    pattern:
      /\b(speak|talk|put me through|ring me|call me|dial|phone)\b[^.?!]*\b(person|someone|somebody|agent|lady|colleague|people|optics)\b/g,
  },
  {
    kind: 'human_handover',
    pattern:
      /\b(person|someone|somebody|colleague)\b[^.?!]*\b(please|not a robot|call|ring|talk|phone|speak)\b|\b(real|to a|is a) person\b/g,
  },
  {
    kind: 'unsubscribe',
    pattern:
      /\b(unsubscribe|not hear from you|(stop|off|no more|never want|remove|dont want|not to receive|not receive|cease)\b[^.?!]*\b(newsletters?|mails?|mailing|marketing|promotional|emails?|lists?))\b/g,
  },
  {
    kind: 'payment_question',
    pattern:
      /\b(how (do|can|could|should) i pay|how i can pay|(can|could|may) i (pay|use a)|pay (by|in|with)|to pay with|paypal|apple pay|google pay|klarna|bank transfer|cheques?|vouchers?|credit cards?|card details|(which|what) cards|payment (methods?|options?)|methods of payment|take cards?)\b/g,
  },
  {
    kind: 'shipping_question',
    pattern:
      /\b(shipping|postage|delivery (times?|costs?|charges?|slots?|to)|(do|can|could|will) (you|they|couriers of yours) (ship|deliver|post)\b|how (long|quick|fast|soon)[^.?!]*(deliver|ship)\w*|(for|until|cost of) delivery|customs|weight limit|post a parcel|courier comes|when would (they|it) be delivered|ship to [a-z]+)\b/g,
    unless: /\b(deliver|ship)\w* (it |them )?to addr_|ship to the usual/,
  },
  {
    kind: 'order_status',
    pattern:
      /\b((where|whereabouts|wheres|whither)( is| are|s)? (ord_|my (order|parcel|package|stuff)|our|that|this|it\b|they|has my)|where has my|where will (it|they)|wheres it at|whereabouts|order status|status of|status\b|state of ord|track|eta|progress of|happening with|became of|has it shipped|is it shipped|order ships?|(does|do|did) the order ship|when (does|do|will|would|is) (that|it|they|this|my|ord_)[^.?!]*(go out|arrive|come|here|ship)|got to$|hows my (order|parcel)|check on ord|look where)/g,
    unless: /\brefund|ord_\d+ lists|paperwork/,
  },
  {
    kind: 'refund_status',
    pattern: /\b(refund(s|ed)?|money\b[^.?!]*\bpaid back|my money back|give me back my)\b/g,
  },
  {
    kind: 'return_item',
    pattern:
      /(?<!\b(my|the) )\b(return (it|this|that|ord_|the (item|order)|order|what|to sender)|(to|a|me) return\b|return\b(?= ord_)|(hand|send|give|ship) (it|this|that|them|ord_\d+) back|ord_\d+ taken back|be taken back|returnable)/g,
  },
  {
    kind: 'complaint',
    pattern:
      /\b(broken|crack(ed|s)?|smashed|snapped|leaks?|dribbles|burnt|soaking|ruined|missing|shrank|fell off|frayed|came undone|damaged|faulty|squeaks|blunt|torn|poor quality|wrong (size|colour|item)|not impressed|useless|worst|rubbish|disgrace|furious|angry|unhappy|cross with|complain|complaint|compensation|apology|explain yourselves|never (arrived|received|recieved|showed|came)|i never (received|recieved)|nothing here|hasnt (come|arrived)|ate my|i never ordered|arrived open)\b/g,
  },
  {
    kind: 'gift_wrap',
    pattern: /\b(gift[- ]?wrap\w*|(gift|wrapping) paper|wrapp?(ed|ing)?\b|wraps?\b|as a (present|gift))/g,
    unless: /\bwrap nothing\b/,
  },
  { kind: 'invoice_copy', pattern: /\b(invoice|receipt|send the bill|paperwork)\b/g },
  {
    kind: 'cancel_order',
    pattern:
      /\b(cancel(l?ed|ling)?|cncel|cansel|call off|(scratch|bin|kill|drop|undo|annul|void|scrap) (that|the|my|this)\b|do away with|get rid of|stopped before)/g,
  },
  {
    kind: 'change_address',
    pattern: /\baddr_\d+|\baddress\b[^.?!]*\bwrong\b|\bwrong address\b|\b(change|update|new) (my |the )?address\b/g,
  },
  {
    kind: 'recommendation',
    pattern:
      /\b(recommend\w*|suggest\w*|ideas|any tips|anything (nice|else)|something nice|which of your|know a good|help me choose|need a present|anything in the)\b/g,
    unless: /\bideas of\b/,
  },
  {
    kind: 'price_question',
    pattern:
      /\b(prices?|costs?|how much|charge for|damage for|expensive|costly|a quote|go for\b|cheaper|dear\b(?= |$))/g,
    unless:
      /^(?!.*prod_).*\b(shipping|postage|ship|deliver\w*|post)\b|\b(delivery|shipping|postage)( \w+)? (costs?|charges?|prices?)|^dear\b|\bset price/,
  },
  {
    kind: 'stock_question',
    pattern:
      /(^got\b|\b(back )?in(to)? stock|return to stock|available|availability|obtainable|do (you|u)( guys)? (still |ever )?(have|sell|do|stock)\b|whether you have|have you( got)?( any)?\b|have any\b|got (any|both|a)\b|you(ve)? got\b|r they in\b|(is|are) [^.?!,]{1,40} in$|any [^.?!]* left|are there any|be back|how many [^.?!]*(have|get)|you have\b|you stock|least stock|whether its there\b)/g,
    unless: /\bsales\b|\bpayment\b/,
  },
  {
    kind: 'order',
    pattern:
      /(?<!\b(my|the|that|this|every|any|your|whole|new|from|last|an|of|off|separate|old|poor|prod_\d+) )\border\b(?! (status|number|ord_|of yesterday))|\b(buy(ing)?|purchase|get me(?! (some(body|one)|an? (human|operator|person|agent)))|gimme|give me|give(?= \d)|id (also )?(like|love)|i would (like|love)|ill (take|have|want)|(to |we|i|wld |would )?(want|need)( to buy)?|need:|send( me| over)?|ship me|put me down|put 1 aside|reserve|procure|dispatch|add|(can|could|may) i (get|have)|like(?= \d)|have to do|it is\b|required|place an order|go ahead)\b/g,
  },
]

const SENTENCE = /(?:[^.!?;\n]|\.(?=\d))+/g

/** All cues of a masked text, in the order of their place. */
export function cuesIn(masked: string): Cue[] {
  const cues: Cue[] = []
  for (const { start, text } of sentencesOf(masked)) {
    for (const rule of RULES) {
      if (rule.unless?.test(text)) continue
      for (const found of text.matchAll(rule.pattern)) {
        cues.push({ kind: rule.kind, start: start + found.index, end: start + found.index + found[0].length })
      }
    }
  }
  return cues.sort((left, right) => left.start - right.start)
}

export type Sentence = { start: number; text: string }

/** A point inside a number ends no sentence. */
export function sentencesOf(masked: string): Sentence[] {
  return [...masked.matchAll(SENTENCE)].flatMap((found) => {
    const text = found[0].trimStart()
    return text === '' ? [] : [{ start: found.index + found[0].length - text.length, text: text.trimEnd() }]
  })
}
