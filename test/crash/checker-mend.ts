/**
 * What an operator did against what became of it (X34, X35, X37): an answered verb holds, one that was not answered
 * happened whole or not at all, results that are kept never run again, what is dropped has other ids.
 */
import type { Act, Case, CaseFile } from './case.ts'
import { largeOf, type Treatment, type WardState } from './hospital.ts'
import type { HospitalEntry, HospitalView } from './hospital-view.ts'

const STEPS = ['wash', 'cut', 'sew']
const PATIENTS = new Set(['retry', 'scratch', 'skip', 'drop', 'fork', 'keep'])

export function checkMending(
  { cases, failed }: CaseFile,
  view: HospitalView,
  treatments: readonly Treatment[],
): string[] {
  const found = failed.map((text) => `an operator failed: ${text}`)
  for (const one of cases.values()) {
    found.push(...checkAudit(one, view))
    if (PATIENTS.has(one.of)) found.push(...checkTreatments(one, view, treatments), ...checkVisits(one, view))
    else if (one.of !== 'cry') found.push(...checkWard(one, view))
  }
  return found
}

/** E1: what was answered, or refused, is audited once; an answer is about something that is stored. */
function checkAudit({ id, acts }: Case, { audits }: HospitalView): string[] {
  return acts.flatMap(({ verb, answer }) => {
    if (verb.startsWith('note')) return []
    const rows = audits.filter(({ reason }) => reason === `${id} ${verb}`)
    const said = `${verb} of ${id} (${answer})`
    if (answer === 'none') return rows.length > 1 ? [`${said} is audited ${rows.length} times`] : []
    if (rows.length !== 1) return [`${said} is audited ${rows.length} times`]
    const refused = rows[0]?.outcome.startsWith('refused') === true
    return refused === (answer === 'refused') ? [] : [`${said} is audited as "${rows[0]?.outcome}"`]
  })
}

// States that are edited, rewound, and taken from a file

type Notes = { text: string; done: readonly string[] }
const EMPTY: Notes = { text: '', done: [] }

function noted({ text, done }: Notes, note: string): Notes {
  return { text: `${text}|${note}`, done: [...done, note] }
}

/** The states a ward may have: after what was answered, and after the one act that was not. */
function statesOf({ acts, of }: Case): { sure: Notes; maybe: Notes; last: Act | null } {
  let now = EMPTY
  const after = new Map<string, Notes>()
  for (const act of acts) {
    const { verb, answer } = act
    if (of === 'move' && (verb === 'import' || verb === 'note c')) continue // of the other process
    const next = answer === 'refused' ? now : stateAfter(verb, now, after)
    if (answer === 'none') return { sure: now, maybe: next, last: act }
    now = next
    after.set(verb, now)
  }
  return { sure: now, maybe: now, last: null }
}

function stateAfter(verb: string, now: Notes, after: ReadonlyMap<string, Notes>): Notes {
  const [what = '', note = ''] = verb.split(' ')
  if (what === 'note') return noted(now, note)
  if (what === 'edit') return { ...now, text: 'edited' }
  if (what === 'rewind') return after.get('note a') ?? EMPTY
  if (what === 'replace') return after.get('note b') ?? EMPTY
  throw new Error(`A ward knows no ${verb}.`)
}

function checkWard(one: Case, view: HospitalView): string[] {
  const { id, of, acts } = one
  const { sure, maybe, last } = statesOf(one)
  const journal = view.journals.get(`ward/${id}`) ?? []
  const found: string[] = []
  for (const { verb, answer } of acts) {
    if (verb !== 'edit' && verb !== 'rewind') continue
    const times = journal.filter(({ k, why }) => k === 'edited' && why === `${id} ${verb}`).length
    found.push(...checkTimes(`${verb} of ${id}`, answer, times))
    // X34: whether it happened is what its entry says.
    if (last?.verb === verb) found.push(...checkState(`ward/${id}`, view, times === 1 ? [maybe] : [sure]))
  }
  if (last === null || last.verb.startsWith('note') || last.verb.startsWith('replace'))
    found.push(...checkState(`ward/${id}`, view, [sure, maybe]))
  return of === 'move' ? [...found, ...checkMoved(one, view)] : found
}

function checkTimes(what: string, answer: Act['answer'], times: number): string[] {
  const right = answer === 'done' ? times === 1 : answer === 'refused' ? times === 0 : times <= 1
  return right ? [] : [`${what} (${answer}) is there ${times} times`]
}

function checkState(id: string, { wards }: HospitalView, allowed: readonly Notes[]): string[] {
  const state = wards.get(id)
  if (allowed.some((notes) => isState(state, notes))) return []
  const { large = '', ...rest } = state ?? {}
  const shown = JSON.stringify({ ...rest, large: large.length })
  return [`${id} is ${state === undefined ? 'gone' : shown} and should be ${JSON.stringify(allowed)}`]
}

function isState(state: WardState | undefined, { text, done }: Notes): boolean {
  if (state === undefined) return text === ''
  const counted = Object.entries(state.done).map(([note, times]) => `${note} ${times}`)
  const expected = done.map((note) => `${note} 1`)
  const large = done.includes('b') ? largeOf('b') : ''
  return state.text === text && counted.sort().join() === expected.sort().join() && state.large === large
}

/** X37: under another id it is there, row for row, or nothing of it is. */
function checkMoved({ id, acts }: Case, view: HospitalView): string[] {
  const act = acts.find(({ verb }) => verb === 'import')
  const moved = `ward/${id}-m`
  const [from, to] = [view.texts.get(`ward/${id}`) ?? [], view.texts.get(moved)]
  if (to === undefined) return act?.answer === 'done' ? [`${moved} was imported and is not there`] : []
  if (act === undefined || act.answer === 'refused') return [`${moved} is there and was not imported`]
  const found = from.flatMap((text, i) => (to[i] === text ? [] : [`row ${i + 1} of ${moved} is not that of the file`]))
  const file = ['a', 'b'].reduce(noted, EMPTY)
  const note = acts.find(({ verb }) => verb === 'note c')
  const with_c = noted(file, 'c')
  const allowed = note === undefined ? [file] : note.answer === 'done' ? [with_c] : [file, with_c]
  return [...found, ...checkState(moved, view, allowed)]
}

// Treatments that run again or are given up

function checkTreatments({ id, of, acts }: Case, view: HospitalView, lines: readonly Treatment[]): string[] {
  const found: string[] = []
  const journal = view.journals.get(`patient/${id}`) ?? []
  for (const act of acts) {
    const { verb, answer } = act
    const why = `${id} ${verb}`
    if (verb === 'retry' || verb === 'scratch') {
      const entries = journal.filter((entry) => entry.k === 'retried' && entry.why === why)
      found.push(...checkTimes(why, answer, entries.length))
      const kept = verb === 'retry' ? 1 : 0
      for (const entry of entries) if (entry.kept !== kept) found.push(`${why} keeps ${entry.kept} results of ${kept}`)
    }
    if (verb === 'skip') {
      const letters = view.letters.filter(({ reason }) => reason.endsWith(`: ${why}`))
      found.push(...checkTimes(why, answer, letters.length))
      const skipped = of === 'drop' ? `${id}b` : id
      for (const letter of letters)
        if (letter.treatment !== skipped) found.push(`${why} was to skip ${skipped} and skipped ${letter.treatment}`)
    }
  }
  const treatments = of === 'drop' ? [id, `${id}b`] : [id]
  for (const treatment of treatments) found.push(...checkTreatment(id, treatment, journal, view, lines))
  return found
}

/** X35: one outcome; each branch of the turn in order, with keys of its own, and none that is over comes again. */
function checkTreatment(
  id: string,
  treatment: string,
  journal: readonly HospitalEntry[],
  view: HospitalView,
  lines: readonly Treatment[],
): string[] {
  const found: string[] = []
  const process = `patient/${id}`
  const done = view.patients.get(process)?.done[`treat ${treatment}`] ?? 0
  const dead = view.letters.filter((letter) => letter.treatment === treatment).length
  const carried = view.orderly.done[`carry ${treatment}`] ?? 0
  if (done + dead > 1) found.push(`treatment ${treatment} was done ${done} times and given up ${dead} times`)
  if (carried !== done) found.push(`treatment ${treatment} was done ${done} times and carried ${carried} times`)
  const mine = lines.filter((line) => line.id === treatment && line.process === process)
  const retried = treatment === id ? journal.filter(({ k }) => k === 'retried') : []
  const keys = new Map(STEPS.map((step) => [step, [...new Set(keysOf(mine, step))]]))
  for (const [place, step] of STEPS.entries()) {
    const { length } = keys.get(step) ?? []
    const runs = 1 + retried.filter(({ kept = 0 }) => kept <= place).length
    const right = done === 1 ? length === runs : length <= runs
    if (!right) found.push(`${step} of treatment ${treatment} has ${length} idempotency keys for ${runs} branches`)
    if (step === 'sew' && dead > 0 && length > 0) found.push(`treatment ${treatment} was given up and sewn`)
  }
  if (new Set([...keys.values()].flat()).size !== [...keys.values()].flat().length)
    found.push(`steps of treatment ${treatment} share an idempotency key`)
  let reached = -1
  for (const { step, key } of mine) {
    const branch = keys.get(step)?.indexOf(key) ?? 0
    const at = branch * STEPS.length + STEPS.indexOf(step)
    if (at < reached) found.push(`treatment ${treatment} did ${step} of branch ${branch} again, after it was over`)
    reached = Math.max(reached, at)
  }
  return found
}

function keysOf(lines: readonly Treatment[], step: string): string[] {
  return lines.filter((line) => line.step === step).map(({ key }) => key)
}

/** E4, E5: a message that was received by what does not count any more is back in its place, and counts once. */
function checkVisits({ id, of, sent }: Case, { patients }: HospitalView): string[] {
  const found: string[] = []
  for (const { process, ask } of sent) {
    if (of === 'fork' && process.endsWith('-f')) continue // discarded
    const times = patients.get(process)?.visits[`${id} ${ask}`] ?? 0
    if (times !== 1) found.push(`${process} was sent "${ask}" once and had it ${times} times`)
  }
  for (const [visit, times] of Object.entries(patients.get(`patient/${id}`)?.visits ?? {}))
    if (times > 1) found.push(`patient/${id} had "${visit}" ${times} times`)
  return found
}
