/** The checkers of sagas under kills can fail: each finds what is planted, and nothing in what is sound. */
import { expect, test } from 'vitest'
import type { Effect } from '../crash/bank.ts'
import { checkSagas } from '../crash/checker-saga.ts'
import { checkSagaRows } from '../crash/checker-saga-row.ts'
import type { Saga, SagaEnd } from '../crash/fact.ts'
import type { SagaEntry, SagaRequest, SagaRows } from '../crash/saga-row.ts'

const ID = 'r1-1'
const HOPELESS = 'r1-4'
const NONE: SagaRows = { requests: [], cancels: [], replies: [], journal: [], unmade: [], dead: new Map() }
const request = (scope: string, key: string, outcome: string | null, at = 1): SagaRequest => {
  return { scope, key, message: `m ${key}`, outcome, value: null, at }
}

type Case = {
  id?: string
  of?: Saga
  end?: SagaEnd
  outcome?: string
  asked?: boolean
  /** Steps by id. */
  did?: Record<string, (string | Partial<Effect>)[]>
  deeds?: string[]
  said?: Record<string, string>
  tickets?: string[]
  told?: { id: string; outcome: string }[]
  rows?: Partial<SagaRows>
}

function find({ id = ID, of = 'trip', end = 'hang', asked = true, told = [], tickets = [], ...one }: Case): string[] {
  const { outcome, did = {}, deeds = [], said = {}, rows = {} } = one
  const op = { kind: 'saga' as const, of, key: 'k', end, ms: 1, cancel: null }
  const effects = Object.entries(did).flatMap(([who, steps]) =>
    steps.map((step) => ({ id: who, key: '', step: '', ...(typeof step === 'string' ? { step } : step) })),
  )
  const own = outcome === undefined ? [] : [request('traveller/k', id, outcome)]
  return checkSagas({
    effects,
    facts: { wanted: new Map([[id, op]]) },
    sagas: { asked: new Set(asked ? [id] : []), taken: new Set(), told, tickets },
    rows: { ...NONE, ...rows, requests: [...own, ...(rows.requests ?? [])] },
    world: {
      deeds: new Map(deeds.map((deed) => [deed, deeds.filter((one) => one === deed).length])),
      said: new Map(Object.entries(said)),
    },
  })
}

const THERE = ['flight', 'hotel', 'car', 'sign', 'seal']
const BACK = [{ step: 'undo hotel', attempt: 1 }, { step: 'undo hotel', attempt: 2 }, 'undo flight']
const HEARD = ['heard', 'calm']
const DONE = [`traveller:trip ${ID}`, `porter:carry ${ID}`, `traveller:sworn ${ID}`]
const SWORN = [`traveller:sworn ${ID}`]
const trip = (did: (string | Partial<Effect>)[], more: Case = {}): string[] =>
  find({ outcome: 'CANCELLED', did: { [ID]: did }, deeds: SWORN, ...more })
const whole = [...THERE, ...HEARD, 'undo car', ...BACK]

test('[X28] an end that nobody asked for, another one than was told, state of it, what was heard twice or not', () => {
  expect(trip(whole, { told: [{ id: ID, outcome: 'CANCELLED' }] })).toEqual([])
  expect(trip(THERE, { outcome: 'done', end: 'arrive', deeds: DONE })).toEqual([])
  expect(trip([], { deeds: [] })).toEqual([])
  const mended = { outcome: 'done', end: 'break-down', deeds: DONE } as const
  expect(trip([...THERE, 'mended'], mended)).toEqual([])
  expect(trip(THERE, mended)[0]).toMatch('(break-down) ended as done')
  expect(trip(whole, { asked: false })[0]).toMatch('ended as CANCELLED, not asked to end')
  expect(trip(THERE, { outcome: 'done', deeds: DONE })[0]).toMatch('(hang) ended as done, asked to end')
  expect(trip(whole, { told: [{ id: ID, outcome: 'done' }] })[0]).toMatch(
    'told to end as done and is kept as CANCELLED',
  )
  expect(find({})[0]).toMatch(`trip ${ID} is lost`)
  expect(trip(whole, { deeds: [...SWORN, `traveller:trip ${ID}`] })[0]).toMatch('has traveller:trip r1-1 1 times')
  expect(trip(whole, { deeds: [...SWORN, `porter:carry ${ID}`] })[0]).toMatch('has porter:carry r1-1 1 times')
  const ticket = `traveller:ticket ${ID} r1`
  expect(trip(whole, { deeds: [...SWORN, ticket], tickets: [`${ID} r1`] })).toEqual([])
  expect(trip(whole, { tickets: [`${ID} r1`] })[0]).toMatch('ticket r1-1 r1 is lost')
  expect(trip(whole, { deeds: [...SWORN, ticket, ticket] })[0]).toMatch('was used 2 times')
  expect(trip(whole, { deeds: [] })[0]).toMatch('swore 0 times')
  expect(trip([...THERE, 'undo car', ...BACK])[0]).toMatch('did not hear')
  expect(trip([...THERE, 'heard', 'undo car', ...BACK])[0]).toMatch('did not calm down')
  expect(trip([...THERE.slice(0, -1), ...HEARD, 'undo car', ...BACK])[0]).toMatch('signed and did not seal')
  expect(trip([...THERE, ...HEARD], { outcome: 'done', end: 'arrive', deeds: DONE })[0]).toMatch('heard and went on')
})

const journal = (...entries: SagaEntry[]): Partial<SagaRows> => ({
  journal: entries.map((entry, i) => ({ id: 'p', seq: `${i}`, entries: [{ turn: 't', ...entry }] })),
})
const structure = (rows: Partial<SagaRows>, taken: string[] = []): string[] =>
  checkSagaRows({ ...NONE, ...rows }, { taken: new Set(taken) })

test('[X28] a cancellation that was answered and is nowhere, that is asked twice, or heard in two rows', () => {
  const requests = [request('traveller/k', ID, null)]
  const asked = { target: 'traveller/k', op: `m ${ID}` }
  expect(structure({ requests, cancels: [asked] }, [ID])).toEqual([])
  expect(structure({ requests, ...journal({ k: 'cancel', turn: `m ${ID}` }) }, [ID])).toEqual([])
  expect(structure({ requests: [request('traveller/k', ID, 'CANCELLED')] }, [ID])).toEqual([])
  expect(structure({ requests }, [ID])[0]).toMatch(`the cancellation of ${ID} is lost`)
  expect(structure({}, [ID])[0]).toMatch(`there is no ${ID}`)
  const cancel = { k: 'cancel' }
  const heard = (key: string): SagaEntry => ({ k: 'cancelled', key })
  expect(structure(journal(cancel, heard('a'), { k: 'end', how: 'cancelled' }))).toEqual([])
  expect(structure(journal(cancel, cancel))[0]).toMatch('asked to end 2 times')
  expect(structure(journal(cancel, heard('a'), heard('b')))[0]).toMatch('heard of its cancellation in 2 rows')
  expect(structure(journal(heard('a')))[0]).toMatch('heard what nobody asked')
  expect(structure(journal({ k: 'end', how: 'cancelled' }))[0]).toMatch('heard what nobody asked')
})

test('[X29] another order, a leg that stands or was taken back for nothing, attempts and failures left out', () => {
  expect(trip([...THERE, ...HEARD, ...BACK, 'undo car'])[0]).toMatch('undo car after undo flight')
  expect(trip([...THERE, ...HEARD, 'undo car', 'seal', ...BACK])[0]).toMatch('seal after undo car')
  expect(trip([...THERE, ...HEARD, ...BACK])[0]).toMatch('has its car still')
  const done = { outcome: 'done', end: 'arrive', deeds: DONE } as const
  expect(trip([...THERE, 'undo car'], done)[0]).toMatch('took back its car')
  const once = [{ step: 'undo hotel', attempt: 1 }, 'undo flight']
  expect(trip([...THERE, ...HEARD, 'undo car', ...once])[0]).toMatch('gave its hotel up')
  const again = { step: 'undo car', attempt: 2 }
  expect(trip([...THERE, ...HEARD, again, ...BACK])[0]).toMatch('gave its car back 2 times')

  const dead = (reason: string): ReadonlyMap<string, string> => new Map([[`m ${HOPELESS}`, reason]])
  const hopeless = (rows: Partial<SagaRows>): string[] =>
    find({
      ...{ id: HOPELESS, end: 'break-down', outcome: 'DEAD_LETTERED', deeds: [`traveller:sworn ${HOPELESS}`], rows },
      did: { [HOPELESS]: [...THERE, again, ...BACK] },
    })
  const unmade = [`m ${HOPELESS}`]
  const why = 'boom; its rollback failed in car'
  expect(hopeless({ unmade, dead: dead(why) })).toEqual([])
  expect(hopeless({ dead: dead(why) })[0]).toMatch('0 failures')
  expect(hopeless({ unmade: [...unmade, ...unmade], dead: dead(why) })[0]).toMatch('2 failures')
  expect(hopeless({ unmade, dead: dead('boom') })[0]).toMatch('given up: boom')
  expect(hopeless({ unmade })[0]).toMatch('given up: undefined')
  expect(hopeless({ unmade, dead: dead(`${why}; not rolled back: hotel`) })[0]).toMatch('not rolled back: hotel')
})

test('[X29] entries of a rollback: begun twice, in another order, again, owed at its end, of a done turn', () => {
  const begun = { k: 'rollback', undo: ['a', 'b'] }
  const [a, b] = [
    { k: 'step', key: 'a' },
    { k: 'step', key: 'b' },
  ]
  const over = { k: 'rolled-back' }
  expect(structure(journal({ k: 'step', key: 'go' }, begun, b, a, over, { k: 'end', how: 'rejected' }))).toEqual([])
  expect(structure(journal(begun, begun))[0]).toMatch('rolls back twice')
  expect(structure(journal(begun, a))[0]).toMatch('has a where it takes back b')
  expect(structure(journal(begun, b, b))[0]).toMatch('has b twice')
  expect(structure(journal(begun, b, a, { k: 'step', key: 'go' }))[0]).toMatch('takes back nothing more')
  expect(structure(journal(begun, b, over))[0]).toMatch('owes a')
  expect(structure(journal(begun, b, a, over, over))[0]).toMatch('rolled back twice')
  expect(structure(journal(begun, b, a, over, { k: 'end', how: 'done' }))[0]).toMatch('rolls back and is done')
})

type Ends = { stop?: string | null; wait?: string; detach?: string; parent?: string; early?: boolean }

function tour({ stop = 'CANCELLED', wait = 'done', detach = 'done', parent = 'CANCELLED', early }: Ends, more?: Case) {
  const requests = [
    request('tourist/k', ID, parent, early === true ? 4 : 5),
    ...(stop === null ? [] : [request(`guide/${ID}-stop`, 's', stop)]),
    request(`guide/${ID}-wait`, 'w', wait, 5),
    request(`guide/${ID}-detach`, 'd', detach, 9),
  ]
  const did = {
    [ID]: ['depart'],
    [`${ID}-stop`]: stop === 'CANCELLED' ? ['set out', ...HEARD] : ['set out', 'arrive'],
    [`${ID}-wait`]: wait === 'CANCELLED' ? [] : ['set out', 'arrive'],
    [`${ID}-detach`]: detach === 'CANCELLED' ? [] : ['set out', 'arrive'],
  }
  const deeds = [...(stop === 'done' ? ['stop'] : []), 'wait', 'detach'].map((one) => `guide:walk ${ID}-${one}`)
  return find({ of: 'tour', did, deeds, rows: { requests }, ...more })
}

test('[X32] a child that goes on, that was stopped or left behind, that ended after who waits for it', () => {
  expect(tour({})).toEqual([])
  expect(tour({ stop: 'done' })[0]).toMatch('-stop ended as done, not as CANCELLED')
  expect(tour({ detach: 'CANCELLED' })[0]).toMatch('-detach ended as CANCELLED, not as done')
  expect(tour({ wait: 'CANCELLED' })[0]).toMatch('-wait ended as CANCELLED, not as done')
  expect(tour({ early: true })[0]).toMatch('ended 1 ms before the child it waits for')
  expect(tour({ stop: null })[0]).toMatch('its child to stop is lost')
  expect(tour({}, { deeds: [] })[0]).toMatch('is counted 0 times')
  expect(tour({ parent: 'done' }, { end: 'arrive' })[0]).toMatch(`tour ${ID} (done) is counted 0 times`)

  const left = [request('tourist/k', ID, 'done'), request(`guide/${ID}-stop`, 's', null)]
  const told = { target: `guide/${ID}-stop`, op: '$child' }
  expect(structure({ requests: left, cancels: [told] })).toEqual([])
  expect(structure({ requests: left })[0]).toMatch('left behind by its parent')
})

test('[X33] a watchman who was told another result, two of them, or none; an answer that is there twice', () => {
  const lamp = { ...request(`guide/${ID}-lamp`, 'l', 'done'), value: 'lit' }
  const watch = (notes: string[], said: Record<string, string>, deeds = ['a', 'b']): string[] =>
    find({
      ...{ of: 'vigil', said, rows: { requests: [lamp] }, deeds: deeds.map((who) => `watchman:vigil ${ID}-${who}`) },
      did: { [`${ID}-a`]: notes.map((note) => ({ step: 'told', note })) },
    })
  const both = { [`${ID}-a`]: 'lit', [`${ID}-b`]: 'lit' }
  expect(watch(['lit', 'lit'], both)).toEqual([])
  expect(watch(['lit', 'out'], both)[0]).toMatch('told out of a lamp that ended as lit')
  expect(watch(['lit'], { ...both, [`${ID}-b`]: 'out' })[0]).toMatch('-b was told out')
  expect(watch(['lit'], both, ['a'])[0]).toMatch('-b is counted 0 times')
  expect(find({ of: 'vigil' })[0]).toMatch('the lamp of r1-1 is lost')
  const reply = { target: 'watchman/a', op: 't/result' }
  expect(structure({ replies: [reply, { ...reply, op: 'u/result' }] })).toEqual([])
  expect(structure({ replies: [reply, reply] })[0]).toMatch('is told twice of t/result')
  const asked = { k: 'reply', key: 'result:x#0' }
  expect(structure(journal(asked, asked))[0]).toMatch('has result:x#0 twice')
  const heard = (ok: string, scope = `guide/${ID}-lamp`): SagaEntry => ({
    k: 'reply',
    key: `result:${scope} l#0`,
    out: { ok },
  })
  expect(structure({ requests: [lamp], ...journal(heard('lit')) })).toEqual([])
  expect(structure({ requests: [lamp], ...journal(heard('out')) })[0]).toMatch(
    'heard out of guide/r1-1-lamp, which ended as lit',
  )
  const err = { code: 'CALL_REJECTED' }
  const rejected = { ...lamp, outcome: 'CALL_REJECTED' }
  expect(structure({ requests: [rejected], ...journal({ ...heard(''), out: { err } }) })).toEqual([])
  expect(structure({ requests: [lamp], ...journal({ ...heard(''), out: { err } }) })[0]).toMatch('heard CALL_REJECTED')
})
