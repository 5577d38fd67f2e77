/** The checkers of the operator's part of the crash suite can fail: each finds what is planted, and nothing else. */
import { expect, test } from 'vitest'
import type { Act, Case, CaseFile, CaseKind, Heard } from '../crash/case.ts'
import { checkMending } from '../crash/checker-mend.ts'
import { checkHeard, checkPrunedRows, type PrunedStream } from '../crash/checker-prune.ts'
import { checkSandboxes } from '../crash/checker-sandbox.ts'
import { CRIES, largeOf, type Treatment } from '../crash/hospital.ts'
import type { HospitalEntry, HospitalView } from '../crash/hospital-view.ts'

const ID = 'r1-c1'
const WARD = `ward/${ID}`
const PATIENT = `patient/${ID}`
const COPY = `${PATIENT}-f`

const done = (verb: string, value: string | null = null): Act => ({ verb, answer: 'done', value })
const asked = (verb: string): Act => ({ verb, answer: 'none', value: null })

function fileOf(of: CaseKind, acts: Act[], more: Partial<Case> = {}, heard: Heard[] = []): CaseFile {
  return { cases: new Map([[ID, { id: ID, of, acts, sent: [], over: true, ...more }]]), heard, failed: [] }
}

function viewOf(acts: readonly Act[], more: Partial<HospitalView> = {}): HospitalView {
  const audits = acts.flatMap(({ verb, answer }) =>
    answer === 'none'
      ? []
      : [{ target: '', reason: `${ID} ${verb}`, outcome: answer === 'done' ? 'ok' : 'refused: X' }],
  )
  return {
    ...{ wards: new Map(), patients: new Map(), orderly: { done: {} }, journals: new Map(), texts: new Map() },
    ...{ copies: new Map([[PATIENT, null]]), letters: [], audits, ...more },
  }
}

const wardOf = (text: string, notes: string[]) => {
  const counted = Object.fromEntries(notes.map((note) => [note, 1]))
  return new Map([[WARD, { done: counted, text, large: notes.includes('b') ? largeOf('b') : '' }]])
}
const edited = (verb: string): HospitalEntry => ({ k: 'edited', why: `${ID} ${verb}` })

test('[X34] an edit that is lost, half done, done twice, not audited, or refused and done', () => {
  const acts = [done('note a'), done('edit'), done('note b')]
  const check = (given: Act[], entries: HospitalEntry[], text: string, notes: string[], audits = given): string[] =>
    checkMending(
      fileOf('edit', given),
      viewOf(audits, { wards: wardOf(text, notes), journals: new Map([[WARD, entries]]) }),
      [],
    )
  expect(check(acts, [edited('edit')], 'edited|b', ['a', 'b'])).toEqual([])
  expect(check(acts, [], 'edited|b', ['a', 'b'])[0]).toMatch('(done) is there 0 times')
  expect(check(acts, [edited('edit'), edited('edit')], 'edited|b', ['a', 'b'])[0]).toMatch('2 times')
  expect(check(acts, [edited('edit')], '|a|b', ['a', 'b'])[0]).toMatch('should be')
  expect(check(acts, [edited('edit')], 'edited|b', ['a', 'b'], [])[0]).toMatch('audited 0 times')
  const open = [done('note a'), asked('edit')]
  expect(check(open, [], '|a', ['a'])).toEqual([])
  expect(check(open, [edited('edit')], 'edited', ['a'])).toEqual([])
  expect(check(open, [edited('edit')], '|a', ['a'])[0]).toMatch('should be')
  expect(check(open, [], 'edited', ['a'])[0]).toMatch('should be')
  const refused: Act[] = [done('note a'), { verb: 'edit', answer: 'refused', value: null }]
  expect(check(refused, [edited('edit')], '|a', ['a'])[0]).toMatch('(refused) is there 1 times')
})

const line = (step: string, key: string, process = PATIENT): Treatment => ({ id: ID, process, step, key })
const treated = { said: 'real', done: { [`treat ${ID}`]: 1 }, visits: {} }
const carried = { done: { [`carry ${ID}`]: 1 } }
const retried = (verb: string, kept: number): HospitalEntry => ({ k: 'retried', why: `${ID} ${verb}`, kept })

test('[X35] a kept step that runs again, a dropped one with its old id, a message that counts twice', () => {
  const acts = [done('retry')]
  const check = (lines: Treatment[], more: Partial<HospitalView> = {}, of: Partial<Case> = {}): string[] =>
    checkMending(
      fileOf('retry', acts, of),
      viewOf(acts, {
        ...{ patients: new Map([[PATIENT, treated]]), orderly: carried },
        ...{ journals: new Map([[PATIENT, [retried('retry', 1)]]]), ...more },
      }),
      lines,
    )
  const first = [line('wash', 'w'), line('cut', 'c'), line('sew', 's')]
  const again = [line('cut', 'c1'), line('sew', 's1')]
  expect(check([...first, ...again])).toEqual([])
  expect(check([...first, line('wash', 'w'), ...again])[0]).toMatch('did wash of branch 0 again')
  expect(check([...first, line('cut', 'c'), line('sew', 's1')])[0]).toMatch('cut of treatment r1-c1 has 1')
  expect(check([...first, ...again, line('cut', 'c')])[0]).toMatch('did cut of branch 0 again')
  expect(check([...first, line('wash', 'w1'), ...again])[0]).toMatch('wash of treatment r1-c1 has 2')
  expect(check([...first, line('cut', 's'), line('sew', 's1')])[0]).toMatch('share an idempotency key')
  expect(check([...first, ...again], { orderly: { done: {} } })[0]).toMatch('carried 0 times')
  expect(check([...first, ...again], { journals: new Map([[PATIENT, [retried('retry', 2)]]]) })[0]).toMatch('keeps 2')
  const sent = { sent: [{ process: PATIENT, ask: 'go' }] }
  const seen = (times: number) => new Map([[PATIENT, { ...treated, visits: { [`${ID} go`]: times } }]])
  expect(check([...first, ...again], { patients: seen(1) }, sent)).toEqual([])
  expect(check([...first, ...again], { patients: seen(2) }, sent)[0]).toMatch('had it 2 times')
  expect(check([...first, ...again], {}, sent)[0]).toMatch('had it 0 times')
})

test('[X34] a skipped message that is no dead letter, is two, is another one, or was handled as well', () => {
  const acts = [done('skip')]
  const letter = (treatment = ID) => ({ process: PATIENT, treatment, reason: `skipped by x: ${ID} skip` })
  const check = (more: Partial<HospitalView>, lines: Treatment[] = []): string[] =>
    checkMending(fileOf('skip', acts), viewOf(acts, more), lines)
  expect(check({ letters: [letter()] }, [line('wash', 'w'), line('cut', 'c')])).toEqual([])
  expect(check({})[0]).toMatch('is there 0 times')
  expect(check({ letters: [letter(), letter()] })[0]).toMatch('is there 2 times')
  expect(check({ letters: [letter('other')] })[0]).toMatch('was to skip r1-c1 and skipped other')
  const both = { letters: [letter()], patients: new Map([[PATIENT, treated]]), orderly: carried }
  expect(check(both)[0]).toMatch('done 1 times and given up 1 times')
  expect(check({ letters: [letter()] }, [line('sew', 's')])[0]).toMatch('given up and sewn')
})

test('[X36] a copy that acts outside, is no copy, has another answer, or changes its original', () => {
  const acts = [done('fork'), done('answer 1', '1')]
  const answered = (value: string, key = 'sew#0'): HospitalEntry => ({ k: 'step', key, by: 'x', out: { ok: value } })
  const said = (text: string) =>
    new Map([
      [PATIENT, treated],
      [COPY, { ...treated, said: text }],
    ])
  const sound: Partial<HospitalView> = {
    patients: said('1'),
    journals: new Map([[COPY, [answered('1')]]]),
    copies: new Map([
      [PATIENT, null],
      [COPY, PATIENT],
    ]),
  }
  const check = (
    more: Partial<HospitalView> = {},
    lines: Treatment[] = [],
    of: CaseKind = 'keep',
    given = acts,
  ): string[] => checkSandboxes(fileOf(of, given), viewOf(given, { ...sound, ...more }), lines)
  expect(check()).toEqual([])
  expect(check({}, [line('sew', 's', COPY)])[0]).toMatch('did sew outside')
  expect(check({ copies: new Map([[COPY, null]]) })[0]).toMatch('is a copy of null')
  expect(check({ copies: new Map() })[0]).toMatch('was made and is not there')
  expect(check({ patients: said('2') })[0]).toMatch('says "2" and was answered "1"')
  expect(check({ journals: new Map([[COPY, [answered('2')]]]) })[0]).toMatch('"1" was told to count')
  expect(check({ journals: new Map([[COPY, [answered('1'), answered('2')]]]) })[0]).toMatch('answered twice')
  const forked = new Map([
    [COPY, [answered('1')]],
    [PATIENT, [{ k: 'retried' }]],
  ])
  expect(check({ journals: forked })[0]).toMatch('has a "retried" entry')
  expect(check({}, [], 'fork', [...acts, done('discard')])[0]).toMatch('was discarded and is there')
})

test('[X37] an import that is lost, in part, or of another state; a place with neither of the two', () => {
  const acts = [done('note a'), done('note b'), done('import')]
  const moved = (text: string) =>
    new Map([
      ...wardOf('|a|b', ['a', 'b']),
      ...[...wardOf(text, ['a', 'b'])].map(([id, state]) => [`${id}-m`, state] as const),
    ])
  const check = (more: Partial<HospitalView>, given = acts): string[] =>
    checkMending(fileOf('move', given), viewOf(given, { wards: moved('|a|b'), ...more }), [])
  const texts = (...rows: string[]) =>
    new Map([
      [WARD, ['1', '2']],
      [`${WARD}-m`, rows],
    ])
  expect(check({ texts: texts('1', '2', '3') })).toEqual([])
  expect(check({ texts: texts('1') })[0]).toMatch('row 2 of ward/r1-c1-m')
  expect(check({ texts: new Map() })[0]).toMatch('was imported and is not there')
  expect(check({ texts: texts('1', '2'), wards: moved('|a') })[0]).toMatch('should be')
  const swapped = [done('note a'), done('note b'), done('note c'), asked('replace 1')]
  const swap = (text: string, notes: string[]): string[] =>
    checkMending(fileOf('swap', swapped), viewOf(swapped, { wards: wardOf(text, notes) }), [])
  expect(swap('|a|b|c', ['a', 'b', 'c'])).toEqual([])
  expect(swap('|a|b', ['a', 'b'])).toEqual([])
  expect(swap('|a|b', ['a', 'b', 'c'])[0]).toMatch('should be')
  expect(swap('', [])[0]).toMatch('should be')
})

test('[X38] rows that are missing behind the floor, and readers that are left with a chunk too many or too few', () => {
  const chunk = (offset: number, n: number, what = 'chunk'): Heard => ({
    f: 'heard',
    run: 'r1',
    key: 'c0',
    offset,
    turn: 't',
    n,
    what,
  })
  const before = chunk(0, 0)
  const all = [{ ...before, turn: 's' } as Heard, ...Array.from({ length: CRIES }, (_, n) => chunk(1 + n, n))]
  const lines = all.slice(3).map((fact) => ({
    pos: fact.f === 'heard' ? fact.offset : 0,
    size: 2,
    turn: 't',
    what: 'chunk',
    n: fact.f === 'heard' ? fact.n : 0,
  }))
  const stream: PrunedStream = { floor: 3, tail: CRIES + 1, bytes: 2 * lines.length, lines }
  const rows = (more: Partial<PrunedStream>): string[] => checkPrunedRows(new Map([['c0', { ...stream, ...more }]]))
  expect(rows({})).toEqual([])
  expect(rows({ lines: lines.slice(1), bytes: stream.bytes - 2 })[0]).toMatch('goes from 3 to')
  expect(rows({ bytes: 1 })[0]).toMatch('says 1 bytes')
  const heard = (...facts: Heard[]): string[] => checkHeard(fileOf('edit', [], {}, facts), new Map([['c0', stream]]))
  expect(heard(...all)).toEqual([])
  expect(heard(...all.slice(0, 4), ...all.slice(5))[0]).toMatch('was at 4 and went on at 5')
  const again = [
    ...all.slice(0, 3),
    chunk(3, -1, 'reset 2'),
    ...Array.from({ length: CRIES }, (_, n) => chunk(4 + n, n)),
  ]
  const torn = { ...stream, floor: 99, lines: [] }
  const told = (...facts: Heard[]): string[] => checkHeard(fileOf('edit', [], {}, facts), new Map([['c0', torn]]))
  expect(told(...again)[0]).toMatch('has 0 0 1')
  expect(told(...again.with(3, chunk(3, -1, 'reset 1')))).toEqual([])
  // The rest of the last turn may be written while nobody reads; of one before it nothing may be missing.
  expect(told(...all.slice(0, 4))).toEqual([])
  expect(told(...all.slice(0, 4), { ...before, offset: 4, turn: 'u' } as Heard)[0]).toMatch('has 0 1 2 of turn t')
  const gap: Heard = { f: 'gap', run: 'r1', key: 'c0', from: 3, floor: 5 }
  expect(told(...all.slice(0, 3), gap, ...all.slice(5))).toEqual([])
  // A gap hides the reset with which the turn began anew; without one the same chunks are too many.
  const rest = (from: number): Heard[] => [5, 6, 7].map((n, i) => chunk(from + i, n))
  expect(told(...all, { ...gap, from: CRIES + 1, floor: 15 }, ...rest(15))).toEqual([])
  expect(told(...all, ...rest(CRIES + 1))[0]).toMatch('has 0 1 2 3 4 5 6 7 5 6 7 of turn t')
  expect(heard(...all.slice(0, 3), { ...gap, floor: 9 })[0]).toMatch('was told of the floor 9')
})
