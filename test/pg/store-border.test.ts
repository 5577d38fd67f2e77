/** A database that is away, as those outside a runtime see it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent, createRuntime, type Handle, pool, type Runtime, supervisor } from 'vivarium'
import { ENDPOINTS } from '../../server/http/app.ts'
import { testDatabase } from '../support/database.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'

const database = testDatabase()
const note = agent('note', {
  state: () => ({ lines: 0 }),
  on: {
    add(ctx) {
      ctx.state.lines += 1
    },
  },
  queries: { lines: (state) => state.lines },
})
const ACT = { actor: 'ann', reason: 'to see' }

let proxy: PostgresProxy
let runtime: Runtime
let handle: Handle

beforeEach(async () => {
  proxy = await PostgresProxy.make(() => database.connection)
  await proxy.open()
  const root = supervisor('root', { strategy: 'one_for_one', children: [pool(note)] })
  runtime = await createRuntime({ databaseUrl: proxy.url, root })
  await runtime.ref(note, 'a').add()
  handle = await runtime.start(note, 'a', 'add', undefined, { idempotencyKey: 'k' })
  await handle.result()
})
afterEach(async () => {
  await proxy.cut()
  await proxy.open()
  await runtime.stop()
  await proxy.cut()
})

async function firstOf(items: AsyncIterable<unknown>): Promise<unknown> {
  for await (const item of items) return item
  return null
}

describe('[B18] a database that is away', () => {
  test('[B18] verbs say so by a code, with what is known of the outcome', async () => {
    await proxy.cut()
    const asked: Record<string, () => Promise<unknown>> = {
      send: () => runtime.send(runtime.ref(note, 'a').add()),
      start: () => runtime.start(note, 'a', 'add'),
      cancel: () => handle.cancel(),
      handle: () => runtime.handle(note, 'a', 'k'),
      whereis: () => runtime.whereis('nobody'),
      query: async () => runtime.ref(note, 'b').lines(),
      stream: () => firstOf(runtime.stream('note/a', 'words')),
      fork: () => runtime.control.fork('note/a', ACT),
      failures: () => runtime.inspect.failures({}),
    }
    const refused = await Promise.all(
      Object.entries(asked).map(([what, ask]) =>
        ask().then(
          () => [what, 'answered'],
          ({ code, message }: { code: unknown; message: string }) => [what, code, message],
        ),
      ),
    )
    const text = expect.stringMatching(
      /^The database does not answer: (connect|write|read) .*is stored is not known\.$/,
    )
    expect(refused).toEqual(Object.keys(asked).map((what) => [what, 'STORE_UNAVAILABLE', text]))
    await proxy.open()
    expect(await runtime.ref(note, 'a').lines()).toBe(2)
  })

  test('[B18] by HTTP it is 503, never a bug of the runtime', async () => {
    const { url } = await runtime.listen({ port: 0 })
    await proxy.cut()
    const reads = ENDPOINTS.filter(({ method, role, path }) => method === 'get' && role !== null && path !== '/metrics')
    const answers = await Promise.all(
      [...reads.map(({ path }) => path), '/streams/nothing'].map(async (path) => {
        const answer = await fetch(`${url}/api/v1${path.replace('{id}', 'note%2Fb')}`)
        const { code } = (await answer.json()) as { code?: string }
        return { path, status: answer.status, code }
      }),
    )
    const away = answers.filter(({ code }) => code === 'STORE_UNAVAILABLE')
    expect(away.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['/audit', '/doctor', '/nodes', '/processes/{id}', '/streams/nothing']),
    )
    expect(away.every(({ status }) => status === 503)).toBe(true)
    expect(answers.filter(({ status }) => status === 500)).toEqual([])
  })
})
