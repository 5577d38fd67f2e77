/** The oracle of test/random against worlds that are made up: it accepts what must be, and nothing that is touched. */
import { describe, expect, test } from 'vitest'
import { compare } from '../random/comparison.ts'
import { type Expectation, expectationOf, HOPELESS_ATTEMPTS } from '../random/expectation.ts'
import { type Body, type Command, type Kind, type Program, programOf } from '../random/program.ts'
import { emptyWorld, type ProgramWorld } from '../random/world.ts'

const PROGRAMS = 300

/** What a runtime without a fault leaves behind. */
function worldOf(expected: Expectation): ProgramWorld {
  const world = emptyWorld()
  for (const [key, count] of expected.counts) world.counts.set(key, count)
  for (const [path, process] of expected.seen) world.seen.set(path, { process, value: `${path}#v` })
  for (const [path, { process, source }] of expected.heard) world.heard.set(path, { process, value: `${source}#v` })
  for (const [path, { process, count }] of expected.notes) {
    world.notes.set(path, { process, list: [...Array(count).keys()] })
  }
  for (const path of expected.rows) world.rows.push({ path, value: `${path}#v` })
  for (const [path, { process, of, count }] of expected.streams) {
    const stem = of === 'step' ? `${path}#v` : path
    const chunks = Array.from({ length: count }, (_, i) => `${stem}:${i}`)
    world.streams.set(path, { process, chunks, closed: true })
  }
  for (const path of expected.turns) world.begins.push({ e: 'begin', path, attempt: 1 })
  world.results.push(expected.result)
  let place = 0
  for (const path of [...expected.effects.keys(), ...expected.external.keys()].sort(byPlace)) {
    const good = expected.effects.get(path)
    if (good === undefined) {
      const won = expected.external.get(path) === true ? `${path}#v` : 'no'
      const token = `token ${path}`
      world.tokens.push({ e: 'token', path, token, outcome: 'value' })
      world.settled.push({ e: 'settled', path, token, value: won })
      world.order.set(path, [++place])
      continue
    }
    const attempts = [...Array(good ?? HOPELESS_ATTEMPTS).keys()].map((i) => i + 1)
    const line = { e: 'effect', path, value: `${path}#v`, key: `key ${path}` } as const
    world.effects.set(
      path,
      attempts.map((attempt) => ({ ...line, attempt })),
    )
    world.order.set(
      path,
      attempts.map(() => ++place),
    )
  }
  for (const path of expected.undone.flat()) world.order.set(path, [++place])
  return world
}

/** Paths in the order of the program. */
function byPlace(a: string, b: string): number {
  const [left, right] = [a, b].map((path) => path.split('.').slice(1).map(Number))
  if (left === undefined || right === undefined) return 0
  const i = left.findIndex((n, at) => n !== right[at])
  return i === -1 ? left.length - right.length : (left[i] ?? 0) - (right[i] ?? -1)
}

function kindsOf(body: Body, into = new Set<Kind>()): Set<Kind> {
  for (const command of body) {
    into.add(command.kind)
    if ('body' in command) kindsOf(command.body, into)
    if ('branches' in command) kindsOf(command.branches, into)
  }
  return into
}

function only(...body: Command[]): Expectation {
  const program: Program = { id: 'p1', body }
  return expectationOf(program)
}

test('[X30] a program follows from seed and number, and all kinds of commands are met', () => {
  const programs = Array.from({ length: PROGRAMS }, (_, i) => programOf(7, i))
  expect(programs).toEqual(Array.from({ length: PROGRAMS }, (_, i) => programOf(7, i)))
  expect(new Set(programs.map(({ body }) => JSON.stringify(body))).size).toBeGreaterThan(PROGRAMS * 0.95)
  const kinds = programs.reduce((all, { body }) => kindsOf(body, all), new Set<Kind>())
  expect([...kinds].sort()).toEqual(
    [
      ...['after', 'await', 'burst', 'call', 'cancelled', 'checkpoint', 'child', 'chunks', 'count', 'crash', 'draw'],
      ...['external', 'flaky', 'hopeless', 'parallel', 'peek', 'reject', 'send', 'signal', 'sleep', 'start', 'step'],
      ...['stream', 'task', 'undo', 'write'],
    ].sort(),
  )
})

test('[X31] the oracle accepts what a runtime without a fault leaves behind', () => {
  for (let i = 0; i < PROGRAMS; i++) {
    const expected = expectationOf(programOf(7, i))
    expect(compare(expected, worldOf(expected)), JSON.stringify(expected.program)).toEqual([])
  }
})

describe('[X31] what a turn leaves behind', () => {
  test('a rejected turn: nothing but what was committed before, or awaited', () => {
    const expected = only({
      kind: 'reject',
      to: 3,
      body: [
        { kind: 'count' },
        { kind: 'checkpoint' },
        { kind: 'count' },
        { kind: 'step' },
        { kind: 'send', to: 1, body: [{ kind: 'count' }] },
        { kind: 'send', to: 2, body: [{ kind: 'count' }] },
        { kind: 'call', to: 2, body: [{ kind: 'count' }] },
        { kind: 'after', ms: 1, body: [{ kind: 'count' }] },
      ],
    })
    expect(Object.fromEntries(expected.counts)).toEqual({
      'layer0/p1 p1': 1,
      'layer1/k3 p1': 1,
      'layer2/k2 p1': 2, // the call took the send to the same process along
    })
    expect([...expected.turns]).toEqual(['p1', 'p1.0', 'p1.0.5', 'p1.0.6'])
    expect([...expected.seen.keys()]).toEqual([])
    expect([...expected.heard]).toEqual([
      ['p1.0.5', { process: 'layer2/k2', source: 'p1.0.3' }],
      ['p1.0.6', { process: 'layer2/k2', source: 'p1.0.3' }],
    ])
  })

  test('a rejected turn takes back in reverse what it registered, any other one nothing', () => {
    const body: Command[] = [{ kind: 'undo' }, { kind: 'child', to: 1, body: [{ kind: 'count' }] }, { kind: 'undo' }]
    const expected = only({ kind: 'reject', to: 0, body }, { kind: 'call', to: 0, body })
    expect(expected.undone).toEqual([['p1.0.2.undo', 'p1.0.0.undo']])
    expect([...expected.effects]).toEqual([
      ['p1.0.2.undo', 1],
      ['p1.0.0.undo', 1],
    ])
    expect(expected.counts.get('layer2/k1 p1')).toBe(2) // children are begun at once
    const world = worldOf(expected)
    world.order.set('p1.0.0.undo', [0])
    expect(compare(expected, world)).toEqual([expect.stringContaining('was taken back at line')])
  })

  test('a transaction commits what was before it', () => {
    const body: Command[] = [{ kind: 'count' }, { kind: 'write' }, { kind: 'count' }]
    const expected = only({ kind: 'reject', to: 0, body })
    expect(expected.counts.get('layer1/k0 p1')).toBe(1)
    expect([...expected.rows]).toEqual(['p1.0.1'])
  })

  test('a signal is counted once by its root, a cancelled timer never', () => {
    const expected = only(
      { kind: 'call', to: 0, body: [{ kind: 'signal', name: 's1' }] },
      { kind: 'await', name: 's1', timeoutMs: 5 },
      { kind: 'cancelled', ms: 1, fired: true, body: [{ kind: 'count' }] },
    )
    expect(Object.fromEntries(expected.counts)).toEqual({ 'layer0/p1 p1': 2 })
    expect(expected.result).toBe(4)
  })
})

const EVERYTHING = only(
  { kind: 'step' },
  { kind: 'call', to: 1, body: [{ kind: 'step' }, { kind: 'count' }] },
  { kind: 'write' },
  { kind: 'chunks', count: 2, closes: true },
  { kind: 'flaky', fails: 2 },
  { kind: 'burst', to: 2, count: 3 },
  { kind: 'external', outcome: 'rivals' },
)

describe('[X31] the oracle finds', () => {
  const say = (line: { value: string } | undefined, value: string): void => {
    if (line !== undefined) line.value = value
  }
  test.for<[string, (world: ProgramWorld) => void]>([
    ['a counter that is one too high', (world) => world.counts.set('layer1/k1 p1', 2)],
    ['a counter nobody asked for', (world) => world.counts.set('layer2/k1 p1', 1)],
    ['another result', (world) => world.results.push(1)],
    ['a result that nobody was told', (world) => world.results.splice(0)],
    ['a value that was lost', (world) => world.seen.delete('p1.0')],
    ['a value that others know otherwise', (world) => say(world.heard.get('p1.1'), 'p1.0#w')],
    ['a row with another value', (world) => say(world.rows[0], 'p1.2#w')],
    ['a row too many', (world) => world.rows.push({ path: 'p1.2', value: 'p1.2#v' })],
    ['a row that is not there', (world) => world.rows.splice(0)],
    ['chunks in another order', (world) => world.streams.get('p1.3')?.chunks.reverse()],
    ['chunks of a run that does not count', (world) => say(world.seen.get('p1.3'), 'p1.3#w')],
    ['notes that overtook each other', (world) => world.notes.get('p1.5')?.list.reverse()],
    ['a note that came twice', (world) => world.notes.get('p1.5')?.list.push(2)],
    ['a turn that nobody asked for', (world) => world.begins.push({ e: 'begin', path: 'p1.0', attempt: 1 })],
    ['a turn that never began', (world) => world.begins.splice(1)],
    ['an attempt that was left out', (world) => world.effects.get('p1.4')?.splice(1, 1)],
    ['a second key of one step', (world) => Object.assign(world.effects.get('p1.4')?.[1] ?? {}, { key: 'other' })],
    ['a second token', (world) => world.tokens.push({ e: 'token', path: 'p1.6', token: 'other', outcome: 'rivals' })],
    ['two rivals who both won', (world) => world.settled.push(...world.settled)],
    ['an outcome that is not the one that was taken', (world) => say(world.seen.get('p1.6'), 'p1.6#w')],
    ['a step that ran again after its result was used', (world) => world.order.get('p1.0')?.push(99)],
    [
      'a step whose result is not that of its last run',
      (world) => {
        const [first] = world.effects.get('p1.0') ?? []
        if (first !== undefined) world.effects.get('p1.0')?.push({ ...first, value: 'p1.0#w' })
      },
    ],
  ])('%s', ([, touch]) => {
    const world = worldOf(EVERYTHING)
    touch(world)
    expect(compare(EVERYTHING, world)).not.toEqual([])
  })
})
