/** The event bus and the ring: who hears what, what a broken listener costs, and what is kept of the past. */
import { describe, expect, test } from 'vitest'
import { Bus, EMIT_DEPTH_MAX, LISTENER_FAILURES_MAX } from '../../server/observe/bus.ts'
import { LANE_BYTES_MAX, LANE_EVENTS_MAX, Ring } from '../../server/observe/ring.ts'
import type { RuntimeEvent } from '../../shared/event.ts'

const start = (id: string, at = 0): RuntimeEvent => ({
  kind: 'process:start',
  at,
  id,
  incarnation: 1,
  processKind: 'agent',
  agent: 'a',
  parent: null,
})
const log = (id: string, message: string, data: unknown = null): RuntimeEvent => ({
  kind: 'log',
  at: 0,
  id,
  incarnation: 1,
  level: 'info',
  message,
  data,
})
const failure = (id: string, n: number): RuntimeEvent => ({
  kind: 'failure',
  at: n,
  id,
  incarnation: 1,
  failureId: `f${n}`,
  class: 'Crash',
  error: { code: 'Error', message: 'boom', stack: 's'.repeat(100) },
  decision: 'restarted',
  op: 'run',
})

describe('bus', () => {
  test('[O3] a listener that throws is heard no more after its limit, and one log event says so', () => {
    const bus = new Bus(() => 7)
    const heard: string[] = []
    const logs: RuntimeEvent[] = []
    bus.listen(
      ['process:start'],
      () => {
        throw new Error('broken')
      },
      'planted listener',
    )
    bus.listen(['process:start'], (event) => heard.push(event.id))
    bus.listen(['log'], (event) => logs.push(event))
    for (let i = 0; i < LISTENER_FAILURES_MAX + 5; i++) bus.emit(start(`a/${i}`))
    expect(heard).toHaveLength(LISTENER_FAILURES_MAX + 5)
    expect(bus.stats.failures).toBe(LISTENER_FAILURES_MAX)
    expect(bus.stats.listeners).toBe(2)
    expect(logs).toHaveLength(1)
    expect(logs[0]).toMatchObject({ at: 7, id: 'vivarium/bus', level: 'error' })
    expect(logs[0]?.kind === 'log' && logs[0].message).toMatch(/planted listener .* threw 10 times.*broken/)
  })

  test('[O3] emit survives a thrown value without a text and listeners that feed each other', () => {
    const bus = new Bus(() => 0)
    let calls = 0
    bus.listen(['log'], (event) => {
      calls += 1
      bus.emit(event)
    })
    bus.listen('all', () => {
      throw Object.create(null)
    })
    bus.emit(log('a/1', 'once'))
    expect(calls).toBeGreaterThanOrEqual(EMIT_DEPTH_MAX)
    expect(bus.stats.listeners).toBe(1)
    expect(bus.stats.dropped).toBeGreaterThan(0)
  })

  test('[O4] a kind is watched exactly while somebody listens to it', () => {
    const bus = new Bus(() => 0)
    expect(bus.watching('turn:stop')).toBe(false)
    const one = bus.listen(['turn:stop', 'turn:stop'], () => {})
    const all = bus.listen('all', () => {})
    expect(bus.watching('turn:stop')).toBe(true)
    expect(bus.watching('step:stop')).toBe(true)
    all()
    all()
    expect(bus.watching('step:stop')).toBe(false)
    expect(bus.watching('turn:stop')).toBe(true)
    one()
    expect(bus.watching('turn:stop')).toBe(false)
    expect(bus.stats.listeners).toBe(0)
  })

  test('a listener that leaves while an event is handed out does not hear it', () => {
    const bus = new Bus(() => 0)
    const heard: string[] = []
    const ends: (() => void)[] = []
    bus.listen(['process:start'], () => {
      heard.push('first')
      for (const end of ends) end()
      bus.listen(['process:start'], () => heard.push('late'))
    })
    ends.push(bus.listen(['process:start'], () => heard.push('second')))
    bus.emit(start('a/1'))
    expect(heard).toEqual(['first'])
  })

  test('nothing is counted or delivered without a listener', () => {
    const bus = new Bus(() => 0)
    bus.emit(start('a/1'))
    expect(bus.stats).toEqual({ emitted: 0, failures: 0, dropped: 0, listeners: 0 })
  })
})

describe('ring', () => {
  test('[O5] a storm of births and logs evicts neither failures nor their order', () => {
    const bus = new Bus(() => 0)
    const ring = new Ring(bus)
    bus.emit(start('a/1'))
    bus.emit(failure('a/1', 1))
    for (let i = 0; i < LANE_EVENTS_MAX * 2; i++) bus.emit(start(`b/${i}`))
    for (let i = 0; i < LANE_EVENTS_MAX * 2; i++) bus.emit(log('c/1', `line ${i}`))
    bus.emit(failure('a/1', 2))
    expect(ring.recent(10, 'a/1').map((event) => event.at)).toEqual([1, 2])
    expect(ring.recent(3).map((event) => event.kind)).toEqual(['log', 'log', 'failure'])
    expect(ring.size.events).toBe(LANE_EVENTS_MAX * 2 + 2)
  })

  test('[O5] memory is bounded in bytes whatever a log carries, and nothing of it is kept alive', () => {
    const bus = new Bus(() => 0)
    const ring = new Ring(bus)
    const circular: Record<string, unknown> = {}
    circular.self = circular
    const mine = { n: 1 }
    bus.emit(log('a/1', 'x'.repeat(100_000), { big: 'y'.repeat(1_000_000) }))
    bus.emit(log('a/2', 'circular', circular))
    bus.emit(log('a/3', 'plain', mine))
    mine.n = 2
    const [big, odd, plain] = ring.recent(3)
    expect(JSON.stringify(big).length).toBeLessThan(5_000)
    expect(odd).toMatchObject({ data: { unreadable: expect.any(String) } })
    expect(plain).toMatchObject({ data: { n: 1 } })
    for (let i = 0; i < LANE_EVENTS_MAX; i++) bus.emit(log('a/4', 'x'.repeat(2_000)))
    expect(ring.size.bytes).toBeLessThanOrEqual(LANE_BYTES_MAX)
  })

  test('[O4] the ring makes nobody build turn or step events, and leaves with its end', () => {
    const bus = new Bus(() => 0)
    const ring = new Ring(bus)
    expect(bus.watching('turn:stop') || bus.watching('step:start') || bus.watching('commit:stop')).toBe(false)
    expect(bus.watching('process:exit')).toBe(true)
    expect(ring.recent(0)).toEqual([])
    ring.close()
    expect(bus.watching('process:exit')).toBe(false)
  })
})
