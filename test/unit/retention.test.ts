/** Retention of agents on a living runtime: whose limits hold, and when a node prunes. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { RETENTION_AGE_MS, RETENTION_ROWS } from '../../shared/retention.ts'
import { type TestNode, World } from '../support/runtime.ts'

const HOUR_MS = 60 * 60 * 1_000
const page = 'x'.repeat(2_000)

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

const make = (name: string, retention: Parameters<typeof agent>[1]['retention']) =>
  agent(name, {
    state: () => ({ last: '' }),
    ...(retention === undefined ? {} : { retention }),
    on: {
      write(ctx, text: string) {
        ctx.state.last = text
      },
    },
  })
const brief = make('brief', { maxAgeMs: HOUR_MS })
const keeper = make('keeper', { maxAgeMs: 'forever', maxRows: 'forever' })
const plain = make('plain', undefined)

async function rows(node: TestNode, id: string): Promise<number> {
  const { archive } = node.core.backend.handle
  const record = (await archive.process('default', id)) ?? expect.fail(id)
  return (await archive.journal(record.pid, { limit: 1_000 })).length
}

test('[G3] an agent says how long its journal stays; else a month and 100,000 rows', () => {
  expect(plain.retention).toEqual({ maxAgeMs: RETENTION_AGE_MS, maxRows: RETENTION_ROWS })
  expect(brief.retention).toEqual({ maxAgeMs: HOUR_MS, maxRows: RETENTION_ROWS })
  expect(keeper.retention).toEqual({ maxAgeMs: null, maxRows: null })
  expect(() => make('wrong', { maxRows: 0 })).toThrow('retention.maxRows')
})

test('[G4] one node prunes by the limits of each agent, now and then, and its numbers are seen', async () => {
  const node = await world.node('a', [brief, keeper])
  const other = await world.node('b', [brief, keeper])
  for (let i = 0; i < 30; i++) {
    for (const each of [brief, keeper]) await node.call(node.ref(each, 'k').write(`${i}${page}`))
  }
  await world.advance(HOUR_MS / 2)
  expect([await rows(node, 'brief/k'), await rows(node, 'keeper/k')]).toEqual([30, 30])
  await world.advance(HOUR_MS)
  expect(await rows(node, 'keeper/k')).toBe(30)
  const left = await rows(node, 'brief/k')
  expect(left).toBeLessThan(15)
  const inspect = [node, other].map(({ core }) => new RuntimeInspect(core))
  const seen = await Promise.all(inspect.map((each) => each.state('vivarium/retention')))
  const numbers = seen.map(({ value }) => value as { here: boolean; rows: number; walks: number })
  expect(numbers.filter(({ here }) => here)).toHaveLength(1)
  expect(numbers.map((each) => each.rows).sort((a, b) => a - b)).toEqual([0, 30 - left])
  for (const each of inspect) each.close()
})
