/** What the observer makes of values: words for waits, lines and marks for JSON. */
import { expect, test } from 'vitest'
import type { Wait } from '../../shared/snapshot.ts'
import { patchMarks } from '../../web/components/patch-mark.ts'
import { waitLine } from '../../web/components/wait.ts'
import { CHILDREN_SHOWN, jsonLines, jsonMarks } from '../../web/ui/json-node.ts'

const NONE = { toggled: new Set<string>(), whole: new Set<string>(), marks: new Map() }
const NOW = 1_000_000

function words(wait: Partial<Wait>): string {
  const full: Wait = { kind: 'call', target: null, since: NOW - 3_000, deadline: null, attempt: 1, ...wait }
  const line = waitLine({ status: 'waiting', wait: full, since: NOW, kind: 'agent' }, NOW)
  return line.time === null ? line.text : `${line.text} · ${line.time}`
}

test('a wait says what for, since when, and what comes next', () => {
  expect(words({ kind: 'call', target: 'inventory/sku-17' })).toBe('waiting for reply from inventory/sku-17 · 3 s')
  expect(words({ kind: 'retry', target: 'charge', attempt: 2, deadline: NOW + 4_000 })).toBe(
    'step charge, attempt 2 · next in 4 s',
  )
  expect(words({ kind: 'retry', target: 'charge', attempt: 2, attempts: 5, deadline: NOW + 4_000 })).toBe(
    'step charge, attempt 2 of 5 · next in 4 s',
  )
  expect(words({ kind: 'sandbox', target: 'step charge', progress: '{"cents":7}' })).toBe(
    'waits for your answer to step charge({"cents":7}) · 3 s',
  )
  expect(words({ kind: 'call', target: 'a/b', deadline: NOW + 7_200_000 })).toBe(
    'waiting for reply from a/b · 3 s, gives up in 2 h 00 m',
  )
  expect(words({ kind: 'step', target: 'charge', attempt: 3 })).toBe('step charge, attempt 3 · 3 s')
  expect(words({ kind: 'step', target: 'import', progress: 'page 3 of 8', deadline: NOW + 5_000 })).toBe(
    'step import: page 3 of 8 · 3 s, gives up in 5 s',
  )
  expect(words({ kind: 'sleep', deadline: NOW + 120_000 })).toBe('sleeping · wakes in 2 m 00 s')
  expect(words({ kind: 'call', target: 'a/b', deadline: NOW + 5_000 })).toBe(
    'waiting for reply from a/b · 3 s, gives up in 5 s',
  )
})

test('a diverged turn says so, whatever it waits for', () => {
  const wait: Wait = { kind: 'user', target: null, since: NOW, deadline: null, attempt: 1 }
  const line = waitLine({ status: 'diverged', wait, since: NOW, kind: 'agent' }, NOW)
  expect(line.text).toBe('code and journal disagree: needs a decision')
})

test('tagged values are shown as what they stand for', () => {
  const value = { at: { $date: 0 }, set: { $set: [1] }, map: { $map: [['k', 2]] }, n: { $n: '-0' }, $$own: 1 }
  const lines = jsonLines(value, NONE).map((line) => `${line.name}=${line.text}`)
  expect(lines).toEqual([
    '={ 5 fields }',
    'at=1970-01-01T00:00:00.000Z',
    'set=Set [ 1 item ]',
    '0=1',
    'map=Map { 1 entry }',
    'k=2',
    'n=-0',
    '$own=1',
  ])
})

test('a long list shows a part until all of it is asked for', () => {
  const value = { items: Array.from({ length: 1_000 }, (_, index) => index) }
  const some = jsonLines(value, NONE)
  expect(some).toHaveLength(CHILDREN_SHOWN + 3)
  expect(some.at(-1)).toMatchObject({ tone: 'more', text: '800 more' })
  expect(jsonLines(value, { ...NONE, whole: new Set(['$.items']) })).toHaveLength(1_002)
})

test('changes are marked where they are, and their branch is open', () => {
  const before = { a: { b: { c: 1, d: 2 } }, gone: { x: 1 } }
  const after = { a: { b: { c: 1, d: 3, e: 4 } }, gone: {} }
  const marks = jsonMarks(before, after)
  expect([...marks]).toEqual([
    ['$.a.b.d', 'changed'],
    ['$.a.b.e', 'added'],
    ['$.gone', 'changed'],
  ])
  const shown = jsonLines(after, { ...NONE, marks }).filter((line) => line.mark !== null)
  expect(shown.map((line) => line.path)).toEqual(['$.a.b.d', '$.a.b.e', '$.gone'])
})

test('the patches of a journal entry mark the same lines', () => {
  const marks = patchMarks([
    { k: 'accepted' },
    {
      k: 'end',
      patches: [
        { op: 'set', path: ['items', 0, 'sku name'], value: 1 },
        { op: 'insert', path: ['log', 3], value: 2 },
        { op: 'delete', path: ['cart', 'total'] },
      ],
    },
  ])
  expect([...marks]).toEqual([
    ['$.items[0]["sku name"]', 'changed'],
    ['$.log[3]', 'added'],
    ['$.cart', 'changed'],
  ])
  expect(patchMarks('not a payload').size).toBe(0)
})
