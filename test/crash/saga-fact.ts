/**
 * What the load knows of its sagas, one JSON line per fact beside those of fact.ts, appended synchronously.
 *
 * - `asked` comes before a request for the end of a saga, `answered` after it resolved, `told` after its result did.
 */
import { appendFileSync } from 'node:fs'
import { readLines } from './fact.ts'

export type SagaFact =
  | { f: 'asked'; id: string }
  /** A trip is started and has another ticket. */
  | { f: 'ticket'; id: string; ask: string }
  /** `taken`: false when it was over before. */
  | { f: 'answered'; id: string; taken: boolean }
  /** `outcome`: `done`, or the code of its error. */
  | { f: 'told'; id: string; outcome: string }

export type SagaFacts = {
  asked: ReadonlySet<string>
  /** Requests for the end that are stored, as they were told. */
  taken: ReadonlySet<string>
  told: readonly { id: string; outcome: string }[]
  /** Pairs of trip and asking. */
  tickets: readonly string[]
}

/** @param facts  file of the facts beside which they stand */
export function writeSagaFact(facts: string, fact: SagaFact): void {
  appendFileSync(`${facts}.saga`, `${JSON.stringify(fact)}\n`)
}

export function readSagaFacts(facts: string): SagaFacts {
  const asked = new Set<string>()
  const taken = new Set<string>()
  const told: { id: string; outcome: string }[] = []
  const tickets: string[] = []
  for (const line of readLines(`${facts}.saga`)) {
    const fact = JSON.parse(line) as SagaFact // written by writeSagaFact
    if (fact.f === 'asked') asked.add(fact.id)
    else if (fact.f === 'told') told.push(fact)
    else if (fact.f === 'ticket') tickets.push(`${fact.id} ${fact.ask}`)
    else if (fact.taken) taken.add(fact.id)
  }
  return { asked, taken, told, tickets }
}
