/** The checkers of the crash suite can fail: each finds what is planted, and nothing in what is sound. */
import { expect, test } from 'vitest'
import type { Effect } from '../crash/bank.ts'
import { checkErrands } from '../crash/checker-errand.ts'
import { checkRange } from '../crash/checker-journal.ts'
import { checkStreams, type StoredStream } from '../crash/checker-stream.ts'
import { findWaits, type WaitEntry } from '../crash/checker-wait.ts'
import { CHUNKS } from '../crash/errand.ts'
import type { Errand, Facts } from '../crash/fact.ts'

const ID = 'r1-1'

function factsOf(of: Errand, more: Partial<Facts> = {}): Facts {
  const op = { kind: 'errand', of, key: 'e1', ms: 100, to: 'a1', amount: 1 } as const
  const none = { failed: new Map(), signalled: [], stamped: [], seen: [] }
  return { wanted: new Map([[ID, op]]), done: new Set([ID]), ...none, ...more }
}

type Line = Omit<Effect, 'id' | 'key'>
const world = (said: Record<string, string> = {}, dishes: Record<string, number> = {}) => ({
  said: new Map(Object.entries(said)),
  dishes: new Map(Object.entries(dishes)),
})

function errand(of: Errand, lines: readonly Line[], more: Partial<Facts> = {}, stored = world()): string[] {
  const effects = lines.map((line) => ({ id: ID, key: line.step, ...line }))
  return checkErrands(effects, factsOf(of, more), stored)
}

const attempts = (step: string, ...numbers: number[]): Line[] => numbers.map((attempt) => ({ step, attempt }))
const blows = (...seen: [number, string][]): Line[] =>
  seen.map(([attempt, note]) => ({ step: 'hammer', attempt, note }))

test('[X20] a step that ran again, attempts that began anew, reports that were lost, another order', () => {
  const hot = attempts('heat', 1, 2, 2, 3)
  const sound = [...hot, ...blows([1, '0'], [1, '1'], [2, '3'], [2, '3']), { step: 'quench', note: 'left right' }]
  expect(errand('forge', sound)).toEqual([])
  expect(errand('forge', [...hot, ...blows([1, '0']), { step: 'heat', attempt: 3 }])[0]).toMatch(
    'heat again after hammer',
  )
  expect(errand('forge', attempts('heat', 1, 2, 1))[0]).toMatch('attempt 1 of heat after 2')
  expect(errand('forge', attempts('heat', 1, 3))[0]).toMatch('attempt 3 of heat after 1')
  expect(errand('forge', attempts('heat', 1, 2, 3, 4))[0]).toMatch('heated 4 times')
  expect(errand('forge', blows([1, '0'], [1, '2'], [1, '1']))[0]).toMatch('from 1 after 2')
  expect(errand('forge', blows([1, '0'], [2, '1']))[0]).toMatch('forgot its blows: 1 of 3')
  const twice = [
    { step: 'quench', note: 'left right' },
    { step: 'quench', note: 'right left' },
  ]
  expect(errand('forge', twice)[0]).toMatch('left right and as right left')
  expect(errand('forge', twice.slice(1), {}, world({ [`forge ${ID}`]: 'left right' }))[0]).toMatch('says left right')
})

const nap = (at: number): Line[] => [
  { step: 'bed', at: 1_000 },
  { step: 'rise', at },
]
const row = (...entries: Omit<WaitEntry, 'turn'>[]) => [
  { process: '1', seq: '1', entries: entries.map((entry) => ({ turn: 't', key: 'a', ...entry })) },
]
const waits = (...entries: Omit<WaitEntry, 'turn'>[]): string[] =>
  findWaits(row(...entries), { ended: new Set(['done']), versions: new Map([['1', 4]]) })

test('[X21] a sleep that ended early, a due time told twice, a second waking', () => {
  expect(errand('nap', nap(1_100))).toEqual([])
  expect(errand('nap', nap(1_030))[0]).toMatch('nap r1-1 of 100 ms ended after 30')
  expect(waits({ k: 'due', due: 50 }, { k: 'woke', at: 50 })).toEqual([])
  expect(waits({ k: 'due', due: 50 }, { k: 'woke', at: 49 })[0]).toMatch('1 ms early')
  expect(waits({ k: 'due', due: 50 }, { k: 'due', due: 60 })[0]).toMatch('"due" twice')
  expect(waits({ k: 'due', due: 50 }, { k: 'woke', at: 50 }, { k: 'woke', at: 51 })[0]).toMatch('"woke" twice')
})

test('[X22] a message received twice, received and handled, another one on replay', () => {
  const received = (id: string, key = 'a') => ({ k: 'received', key, message: { id } })
  expect(waits(received('m'), received('n', 'b'))).toEqual([])
  expect(waits(received('m'), received('m', 'b'))[0]).toMatch('received twice')
  expect(waits(received('done'))[0]).toMatch('received and handled')
  const given = { k: 'end', how: 'cancelled' }
  expect(waits(received('m'), received('done', 'b'), given)).toEqual([])
  expect(waits(received('m'), received('m', 'b'), { ...given, how: 'done' })[0]).toMatch('received twice')
  const pay = (note: string) => ({ step: 'pay', note })
  expect(errand('order', [pay('m'), pay('n')], {}, world({}, { [`${ID} r1`]: 1 }))[0]).toMatch('pay as m and as n')
})

test('[X23] two outcomes that counted, another one in the turn, a second token', () => {
  const stamp = (by: string) => ({ id: ID, by })
  const said = world({ [`ship ${ID}`]: 'a' })
  const sail = [{ step: 'sail', note: 'a' }]
  expect(errand('ship', sail, { stamped: [stamp('a')] }, said)).toEqual([])
  expect(errand('ship', sail, { stamped: [stamp('a'), stamp('b')] }, said)[0]).toMatch('stamped as a and as b')
  expect(errand('ship', sail, { stamped: [stamp('b')] }, said)[0]).toMatch('stamped as b and has a')
  const tokens = [
    { step: 'customs', note: 't1' },
    { step: 'customs', note: 't2' },
  ]
  expect(errand('ship', tokens)[0]).toMatch('customs as t1 and as t2')
})

test('[X24] a gap, a lost chunk, an attempt without its reset, a chunk written twice, a stream without end', () => {
  const lines = (...texts: string[]) =>
    texts.map((text, pos) => {
      const [, to] = /^reset (\d+)$/.exec(text) ?? []
      return { pos, reset: to !== undefined, turn: 't', step: 'model#0', text: to ?? JSON.stringify(text) }
    })
  const story = (telling: string, length = CHUNKS) => Array.from({ length }, (_, i) => `${telling} ${i}`)
  const log: StoredStream = { tail: 2, closed: true, lines: lines('begins', 'ends') }
  const find = (
    texts: string[],
    more: Partial<StoredStream> = {},
    facts: Partial<Facts> = {},
    ownLog = log,
  ): string[] => {
    const text = { tail: texts.length, closed: true, lines: lines(...texts), ...more }
    const streams = new Map([
      [`${ID}/text`, text],
      [`${ID}/log`, ownLog],
    ])
    return checkStreams(streams, factsOf('tell', facts), new Map([[`tell ${ID}`, 'b']]))
  }
  const torn = [...story('a', 3), 'reset 0', ...story('b')]
  const saw = (offset: number, what: string) => ({ seen: [{ f: 'saw' as const, id: ID, offset, what }] })
  expect(find(torn, {}, saw(3, 'reset 0'))).toEqual([])
  expect(find([...story('a', 3), ...story('b')])[0]).toMatch('tells chunk a 0')
  expect(find(story('b', CHUNKS - 1))[0]).toMatch('tells')
  expect(find(torn, {}, saw(1, 'chunk b 1'))[0]).toMatch('had "chunk b 1" at 1 and has chunk a 1')
  expect(find(torn, {}, saw(40, 'chunk b 1'))[0]).toMatch('and has nothing')
  expect(find(torn, { tail: torn.length + 1 })[0]).toMatch('ends at 13')
  expect(find(torn, { closed: false })[0]).toMatch('no end')
  const twice = { ...log, tail: 3, lines: lines('begins', 'begins', 'ends') }
  expect(find(torn, {}, {}, twice)[0]).toMatch('tells chunk begins, chunk begins')
})

test('[X25] an upgrade left out or done twice, a turn that changed its way', () => {
  const upgrade = (from: number, to: number) => ({ k: 'upgrade', from, to })
  expect(waits(upgrade(1, 2), upgrade(2, 4))).toEqual([])
  expect(waits(upgrade(1, 2), upgrade(3, 4))[0]).toMatch('upgraded to 2 and then from 3')
  expect(waits(upgrade(1, 2), upgrade(1, 4))[0]).toMatch('upgraded to 2 and then from 1')
  expect(waits(upgrade(1, 3))[0]).toMatch('upgraded to 3 and is 4')
  const ways = (...steps: [string, string][]) =>
    errand(
      'renew',
      steps.map(([step, note]) => ({ step, note })),
    )
  expect(ways(['lay', '6'], ['lay', '7'], ['set', '7'], ['set', '7'])).toEqual([])
  expect(ways(['lay', '7'], ['lay', '6'])[0]).toMatch('back from way 7 to 6')
  expect(ways(['lay', '6'], ['set', '7'])[0]).toMatch('began in way 6 and went on in 7')
})

test('[X26] a row missing in the middle, above the snapshot, or of those that stay; an agent that keeps all', () => {
  const range = { id: 'annals/n1', agent: 'annals', low: 11, high: 40, rows: 30, snapshot: 20, waypoint: 10 }
  expect(checkRange(range)).toEqual([])
  expect(checkRange({ ...range, rows: 29 })[0]).toMatch('29 rows from 11 to 40')
  expect(checkRange({ ...range, snapshot: 9 })[0]).toMatch('snapshot is at 9')
  expect(checkRange({ ...range, snapshot: null })[0]).toMatch('snapshot is at null')
  expect(checkRange({ ...range, waypoint: 9 })[0]).toMatch('waypoint at 9')
  expect(checkRange({ ...range, high: 13, rows: 3 })[0]).toMatch('of 4 that it keeps')
  expect(checkRange({ ...range, agent: 'clerk' })[0]).toMatch('never pruned')
})

test('[X27] a signal that is lost or came twice, a result that changed', () => {
  const signalled = [{ id: ID, ask: 'r1' }]
  const dish = `${ID} r1`
  expect(errand('order', [], { signalled }, world({}, { [dish]: 1 }))).toEqual([])
  expect(errand('order', [], { signalled }, world({}, { [`${ID} r2`]: 1 }))[0]).toMatch('r1-1 r1 is lost')
  expect(errand('order', [], { signalled }, world({}, { [dish]: 2 }))[0]).toMatch('came 2 times')
  expect(errand('order', [], {}, world())[0]).toMatch('had no dish')
  expect(errand('order', [], {}, world({}, { [dish]: 1, 'r9-9 r1': 1 }))[0]).toMatch('nobody ordered')
  const seal = (note: string) => ({ step: 'seal', note })
  expect(errand('deal', [seal('5'), seal('6')])[0]).toMatch('seal as 5 and as 6')
})
