/**
 * What an operator asked for and was told, one JSON line per fact beside those of the load (fact.ts). A case is a few
 * verbs on processes of its own, whose keys begin with its id.
 *
 * - `act` comes before the request and `acted` after its answer, `refused` after its refusal. An act without either may
 *   have happened or not.
 */
import { appendFileSync } from 'node:fs'
import { readLines } from './fact.ts'

export const CASES = ['edit', 'retry', 'skip', 'fork', 'move', 'cry', 'scratch', 'drop', 'keep', 'swap'] as const
export type CaseKind = (typeof CASES)[number]

export type CaseFact =
  | { f: 'case'; id: string; of: CaseKind }
  | { f: 'act'; id: string; verb: string }
  | { f: 'acted'; id: string; verb: string; value?: string }
  | { f: 'refused'; id: string; verb: string; code: string }
  /** The message a process was sent is stored. */
  | { f: 'sent'; id: string; process: string; ask: string }
  /** What a live reader of a stream got, or that it was told of a gap. */
  | { f: 'heard'; run: string; key: string; offset: number; turn: string; n: number; what: string }
  | { f: 'gap'; run: string; key: string; from: number; floor: number }
  | { f: 'over'; id: string }
  | { f: 'failed'; id: string; why: string }

export type Act = { verb: string; answer: 'none' | 'done' | 'refused'; value: string | null }

export type Case = {
  id: string
  of: CaseKind
  /** In their order. */
  acts: Act[]
  sent: { process: string; ask: string }[]
  over: boolean
}

export type Heard = Extract<CaseFact, { f: 'heard' | 'gap' }>
export type CaseFile = { cases: ReadonlyMap<string, Case>; heard: readonly Heard[]; failed: readonly string[] }

export function caseFile(facts: string): string {
  return `${facts}.cases`
}

export function writeCase(file: string, fact: CaseFact): void {
  appendFileSync(file, `${JSON.stringify(fact)}\n`)
}

export function readCases(file: string): CaseFile {
  const cases = new Map<string, Case>()
  const heard: Heard[] = []
  const failed: string[] = []
  for (const line of readLines(file)) {
    const fact = JSON.parse(line) as CaseFact // written by writeCase
    if (fact.f === 'heard' || fact.f === 'gap') heard.push(fact)
    else if (fact.f === 'failed') failed.push(`${fact.id}: ${fact.why}`)
    else if (fact.f === 'case') cases.set(fact.id, newCase(fact))
    else note(cases.get(fact.id), fact)
  }
  return { cases, heard, failed }
}

function newCase({ id, of }: Extract<CaseFact, { f: 'case' }>): Case {
  return { id, of, acts: [], sent: [], over: false }
}

type OfCase = Exclude<CaseFact, { f: 'heard' | 'gap' | 'failed' | 'case' }>

function note(found: Case | undefined, fact: OfCase): void {
  if (found === undefined) throw new Error(`A fact of the unknown case ${fact.id}: ${JSON.stringify(fact)}`)
  if (fact.f === 'act') found.acts.push({ verb: fact.verb, answer: 'none', value: null })
  else if (fact.f === 'sent') found.sent.push({ process: fact.process, ask: fact.ask })
  else if (fact.f === 'over') found.over = true
  else {
    const act = found.acts.findLast(({ verb }) => verb === fact.verb)
    if (act === undefined) throw new Error(`${fact.verb} of ${fact.id} was answered and never asked for.`)
    act.answer = fact.f === 'acted' ? 'done' : 'refused'
    if (fact.f === 'acted') act.value = fact.value ?? null
  }
}
