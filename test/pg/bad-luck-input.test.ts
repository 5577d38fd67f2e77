/** Input that is odd or wrong, end to end through Postgres, and trees that OTP would refuse. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { agent, createRuntime, pool, type Runtime, type SupervisorOptions, supervisor } from 'vivarium'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { processesBelow, testFolders } from '../support/embedded-folder.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'

/** Text that Postgres, JSON or UTF-8 may trip over. */
const ODD_TEXTS = {
  'a zero character': 'a\u0000b',
  'a lone high surrogate': 'a\ud800b',
  'a lone low surrogate': '\udfff',
  'a surrogate pair': '\u{1f9ea}',
  'a line separator': '\u2028\u2029',
  'an escaped zero that is text': '\\u0000',
  'quotes and backslashes': `'"\\$$\`%`,
}

const keeper = agent('keeper', {
  state: () => ({ text: '', byKey: {} as Record<string, string> }),
  on: {
    keep(ctx, { text }: { text: string }) {
      ctx.state.text = text
      ctx.state.byKey[text] = text
      return text
    },
    nothing() {},
    async nothingLater() {},
    async step(ctx, { text }: { text: string }) {
      return ctx.step('say', () => text)
    },
    async named(ctx, { name }: { name: string }) {
      await ctx.step(name, () => null)
    },
    arm(ctx, { name }: { name: string }) {
      ctx.after(60_000, 'nothing', null, { name })
    },
    fail(_ctx, { text }: { text: string }) {
      throw new Error(text)
    },
  },
  queries: { kept: (state) => state },
  maxAttempts: 1,
})

const keepers = supervisor('keepers', { strategy: 'one_for_one', children: [pool(keeper)] })

let database: TestDatabase
let proxy: PostgresProxy
let runtime: Runtime

beforeAll(async () => {
  database = await freshDatabase()
  proxy = await PostgresProxy.make(() => database.connection)
  await proxy.open()
  runtime = await start()
})

afterAll(async () => {
  await runtime.stop()
  await proxy.cut()
  await database.drop()
})

function start(): Promise<Runtime> {
  return createRuntime({ root: keepers, databaseUrl: proxy.url })
}

test.for(Object.entries(ODD_TEXTS))(
  '[B11] %s survives message, state, step, reply and restart',
  async ([name, text]) => {
    const key = name.replaceAll(' ', '-')
    const ref = runtime.ref(keeper, key)
    expect(await ref.keep({ text })).toBe(text)
    expect(await ref.step({ text })).toBe(text)
    const sent = await runtime.start(keeper, key, 'keep', { text }, { idempotencyKey: 'once' })
    expect(await sent.result()).toBe(text)
    await expect(ref.fail({ text })).rejects.toMatchObject({ code: 'DEAD_LETTERED' })
    await runtime.stop()
    runtime = await start()
    expect(await runtime.ref(keeper, key).kept()).toEqual({ text, byKey: { [text]: text } })
  },
)

test('[B12] a handler that returns nothing answers null, at once or later', async () => {
  const ref = runtime.ref(keeper, 'silent')
  expect(await ref.nothing()).toBe(null)
  expect(await ref.nothingLater()).toBe(null)
  expect(await (await runtime.start(keeper, 'silent', 'nothing')).result()).toBe(null)
})

test.for([
  ['empty', ''],
  ['longer than 256 characters', 'k'.repeat(257)],
  ['with a zero character', 'a\u0000b'],
  ['with a line break', 'a\nb'],
  ['with a lone surrogate', 'a\ud800'],
] as const)('[B13] a key that is %s is refused by every verb', async ([, key]) => {
  const wrong = expect.objectContaining({ code: 'ID_INVALID' })
  expect(() => runtime.ref(keeper, key)).toThrow(wrong)
  expect(() => keeper.spec({ key })).toThrow(wrong)
  await expect(async () => runtime.start(keeper, key, 'nothing')).rejects.toThrow(wrong)
})

test.for([
  ['empty', ''],
  ['longer than 256 characters', 'k'.repeat(257)],
  ['with a zero character', 'a\u0000b'],
  ['with a lone surrogate', 'a\ud800'],
] as const)('[B13] an idempotency key, a timer name or a step name that is %s is refused', async ([, name]) => {
  const starting = runtime.start(keeper, 'labels', 'nothing', null, { idempotencyKey: name })
  await expect(starting).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await expect(runtime.ref(keeper, 'labels').arm({ name })).rejects.toThrow('REQUEST_INVALID')
  await expect(runtime.ref(keeper, 'labels').named({ name })).rejects.toThrow('REQUEST_INVALID')
})

test('[B13] the longest key works, in every alphabet', async () => {
  for (const letter of ['k', 'ж', '漢', '🧪']) {
    const key = letter.repeat(256 / letter.length)
    expect(await runtime.ref(keeper, key).keep({ text: letter })).toBe(letter)
  }
})

test('[B13] agents with one name, or a name that is none, are refused', async () => {
  const again = agent('keeper', { state: () => 0, on: { nothing() {} } })
  const children = [pool(keeper), again.spec({ key: 'x' })]
  const starting = createRuntime({ root: supervisor('both', { strategy: 'one_for_one', children }), data: '/nowhere' })
  await expect(starting).rejects.toMatchObject({
    code: 'DEFINITION_INVALID',
    message: expect.stringContaining('keeper'),
  })
  for (const name of ['', '1st', 'a b', 'a/b', 'x'.repeat(65), 'pool', 'node']) {
    const wrong = name === 'pool' || name === 'node' ? 'DEFINITION_INVALID' : 'ID_INVALID'
    expect(() => agent(name, { state: () => 0, on: {} })).toThrow(expect.objectContaining({ code: wrong }))
  }
})

describe('[B14] a tree that OTP refuses is refused before anything runs', () => {
  const folders = testFolders()
  const good = keeper.spec({ key: 'one' })
  const wrong: [string, Record<string, unknown>][] = [
    ['invalid_strategy', { strategy: 'all_for_one' }],
    ['invalid_intensity', { intensity: -1 }],
    ['invalid_intensity', { intensity: 1.5 }],
    ['invalid_period', { periodMs: 0 }],
    ['invalid_auto_shutdown', { autoShutdown: 'sometimes' }],
    ['duplicate_child_name', { children: [good, good] }],
    ['duplicate_child_name', { children: [pool(keeper), pool(keeper)] }],
    ['invalid_restart_type', { children: [{ ...good, restart: 'often' }] }],
    ['invalid_shutdown', { children: [{ ...good, shutdown: -1 }] }],
    ['invalid_shutdown', { children: [{ ...good, shutdown: 'soon' }] }],
    [
      'invalid_significant',
      { children: [{ ...good, significant: 1, restart: 'transient' }], autoShutdown: 'any_significant' },
    ],
    ['bad_combination', { children: [{ ...good, significant: true }], autoShutdown: 'any_significant' }],
    ['bad_combination', { children: [{ ...good, significant: true, restart: 'transient' }] }],
    ['missing_start', { children: [{ kind: 'agent', key: 'one' }] }],
    ['invalid_child_spec', { children: [null] }],
    ['invalid_child_spec', { children: ['keeper'] }],
    ['invalid_child_spec', { children: 'keeper' }],
    ['invalid_child_spec', { children: [keeper] }],
    ['missing_id', { children: [{ kind: 'agent', agent: keeper }] }],
  ]
  test.for(wrong)('%s (%o)', async ([reason, change]) => {
    const data = await folders.make()
    const options = { strategy: 'one_for_one', children: [good], ...change } as unknown as SupervisorOptions
    // The definition or the start may refuse; both are before anything runs.
    const starting = (async () => createRuntime({ data, root: supervisor('wrong', options) }))()
    await expect(starting).rejects.toMatchObject({ code: 'CHILD_SPEC_INVALID', detail: { reason } })
    expect(await processesBelow(data)).toEqual([])
    expect(await folders.clear()).toEqual([])
  })
})

test('[B15] no address but loopback is bound without tokens', async () => {
  for (const host of ['0.0.0.0', '::']) {
    await expect(runtime.listen({ host, port: 0 })).rejects.toMatchObject({ code: 'BIND_REFUSED' })
  }
})
