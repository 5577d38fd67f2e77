import { expect, test } from 'vitest'
import { isRuntimeError } from '../../shared/error.ts'
import { matches, parseQuery, QUERY_TERMS_MAX } from '../../shared/query.ts'
import type { ProcessRow } from '../../shared/snapshot.ts'

const NOW = 1_000_000

const ROW: ProcessRow = {
  id: 'order/17',
  kind: 'agent',
  agent: 'order',
  parent: 'pool/order',
  status: 'waiting',
  incarnation: 3,
  mailbox: 12,
  turns: 40,
  busyMs: 900,
  restarts: 2,
  wait: { kind: 'step', target: 'charge card', since: NOW - 90_000, deadline: null, attempt: 1 },
  stateVersion: 9,
  durable: true,
  depth: 2,
  children: 0,
  failures: 1,
  since: NOW - 90_000,
  strategy: null,
  node: 'a',
  hidden: false,
}

const context = {
  now: NOW,
  isUnder: (id: string, ancestor: string) =>
    ['order/17', 'pool/order', 'supervisor/desk'].includes(ancestor) && id === 'order/17',
}
const matching = (text: string) => matches(parseQuery(text), ROW, context)

test.each([
  ['', true],
  ['status:waiting', true],
  ['status:running', false],
  ['status:running,waiting', true],
  ['-status:running', true],
  ['agent:order', true],
  ['agent:ord*', true],
  ['id:*17', true],
  ['wait.kind:step', true],
  ['wait.age>60s', true],
  ['wait.age>2m', false],
  ['age>=90s', true],
  ['under:supervisor/desk', true],
  ['under:supervisor/other', false],
  ['mailbox>10 restarts>0', true],
  ['mailbox>12', false],
  ['mailbox<=12', true],
  ['restarts:2', true],
  ['busy>500ms', true],
  ['durable:true', true],
  ['strategy:none', true],
  ['ORDER', true],
  ['charge', true],
  ['"charge card"', true],
  ['wait.target:"charge card"', true],
  ['-"charge card"', false],
  ['"status:running"', false],
  ['status:waiting agent:order wait.kind:step under:supervisor/desk mailbox>10 restarts>0 17', true],
])('[F1] the query %j is %s for the row', (text, expected) => {
  expect(matching(text)).toBe(expected)
})

test.each([
  ['colour:red', /unknown field "colour"/],
  ['constructor:x', /unknown field "constructor"/],
  ['status:sleeping', /unknown status "sleeping"/],
  ['mailbox>many', /"many" where mailbox needs a number/],
  ['mailbox>10s', /needs a number/],
  ['agent>order', /text field agent/],
  ['agent:', /without a value/],
  ['under>x', /Write under:ID/],
  ['"open', /never closed/],
  ['a '.repeat(QUERY_TERMS_MAX + 1), /41 terms/],
])('[F1] the query %j is refused in words', (text, message) => {
  try {
    parseQuery(text)
  } catch (error) {
    expect(isRuntimeError(error, 'REQUEST_INVALID') && error.message).toMatch(message)
    return
  }
  expect.fail('accepted')
})

test('[F1] a pattern of many stars answers at once', () => {
  const long = { ...ROW, id: `order/${'a'.repeat(250)}` }
  expect(matches(parseQuery(`id:${'*a'.repeat(30)}*b`), long, context)).toBe(false)
})
