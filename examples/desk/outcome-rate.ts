/**
 * How often the right thing came of a request: the outcomes the desk recorded against those a careful clerk wrote
 * beside the inbox. A request counts as right only if every intent of it was seen and had the right outcome.
 */
import type { InboxLine } from './inbox.ts'
import { letterKey, type MailerState } from './mailer.ts'
import type { Settled } from './say.ts'

export type Wrong = { request: string; text: string; expected: string; found: string }
export type OutcomeRate = { judged: number; right: number; wrong: Wrong[] }

/** `skip` holds requests still under way; they are judged when they are done. */
export function outcomeRate(
  lines: readonly InboxLine[],
  evidence: { accepted: ReadonlyMap<string, string>; letters: MailerState['sent']; skip: ReadonlySet<string> },
): OutcomeRate {
  const rate: OutcomeRate = { judged: 0, right: 0, wrong: [] }
  for (const { n, customer, text, expect } of lines) {
    const request = `inbox-${n}`
    const key = letterKey({ customer, request })
    if (expect === undefined || evidence.accepted.get(request) !== customer || evidence.skip.has(key)) continue
    const expected = listed(expect)
    const found = listed(evidence.letters[key]?.settled ?? [])
    rate.judged += 1
    if (found === expected) rate.right += 1
    else rate.wrong.push({ request, text, expected, found })
  }
  return rate
}

function listed(settled: readonly Pick<Settled, 'intent' | 'outcome'>[]): string {
  return settled
    .map(({ intent, outcome }) => `${intent} ${outcome}`)
    .sort()
    .join(', ')
}
