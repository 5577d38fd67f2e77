/** Outcomes of external steps over HTTP: who may give one, what is answered, what is audited. */
import { beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { createApp } from '../../server/http/app.ts'
import { World } from '../support/runtime.ts'
import { ToyWorld } from '../support/toy-inspect.ts'

const HOST = 'http://127.0.0.1:4711'
const TOKENS = [
  { token: 'o'.repeat(32), name: 'ana', role: 'operator' as const },
  { token: 'v'.repeat(32), name: 'vic', role: 'viewer' as const },
]
let world: ToyWorld
let app: ReturnType<typeof createApp>

beforeEach(() => {
  world = new ToyWorld()
  world.add('order/17')
  world.steps.set('st_abc', { process: 'order/17', outcome: null })
  app = createApp({ inspect: world, control: world, web: false, tokens: TOKENS })
})

async function post(path: string, body: unknown, token: string | null = 'o'.repeat(32)) {
  const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  const response = await app.request(`${HOST}/api/v1${path}`, {
    method: 'POST',
    headers: { host: '127.0.0.1:4711', 'content-type': 'application/json', ...authorization },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: await response.json() }
}

describe('[Q13] outcomes over HTTP', () => {
  test('[Q13] a step is completed once, with values that JSON lacks, under the name of who did it', async () => {
    const done = await post('/steps/st_abc/complete', { value: { at: { $date: 5 } }, reason: 'checked by hand' })
    expect(done).toMatchObject({ status: 200, body: { id: 'order/17' } })
    expect(world.steps.get('st_abc')?.outcome).toEqual({ value: { at: new Date(5) } })
    const item = { actor: expect.stringContaining('ana'), verb: 'complete-step', target: 'order/17' }
    expect(world.auditItems.at(-1)).toMatchObject({ ...item, reason: 'checked by hand' })
    const again = await post('/steps/st_abc/complete', { value: 2 })
    expect(again).toMatchObject({ status: 409, body: { code: 'ALREADY_COMPLETED' } })
  })

  test('[Q13] a step is failed with a text or an error', async () => {
    expect((await post('/steps/st_abc/fail', { error: 'no' })).status).toBe(200)
    world.steps.set('st_two', { process: 'order/17', outcome: null })
    const error = { code: 'DENIED', message: 'no' }
    expect((await post('/steps/st_two/fail', { error })).status).toBe(200)
    expect(world.steps.get('st_two')?.outcome).toEqual({ error })
  })

  test.each([
    ['/steps/st_abc/complete', { value: 1 }, 'v'.repeat(32), 403, 'FORBIDDEN'],
    ['/steps/st_abc/complete', { value: 1 }, null, 401, 'UNAUTHORIZED'],
    ['/steps/st_none/complete', { value: 1 }, 'o'.repeat(32), 404, 'STEP_NOT_FOUND'],
    ['/steps/st_abc/complete', { result: 1 }, 'o'.repeat(32), 400, 'REQUEST_INVALID'],
    ['/steps/st_abc/fail', {}, 'o'.repeat(32), 400, 'REQUEST_INVALID'],
  ])('[Q13] %s with %j is refused', async (path, body, token, status, code) => {
    expect(await post(path, body, token)).toMatchObject({ status, body: { code, status } })
    expect(world.steps.get('st_abc')?.outcome).toBeNull()
  })

  test('[Q13] the real control audits who, never the token; refused ones too', async () => {
    const nodes = World.memory()
    let token = ''
    const asker = agent('asker', {
      state: () => ({ got: null as unknown }),
      on: {
        async ask(ctx) {
          ctx.state.got = await ctx.step(
            'approve',
            (info) => {
              token = info.token
            },
            { external: true },
          )
        },
      },
    })
    const node = await nodes.node('a', [asker])
    await node.call(node.send(node.ref(asker, 'k').ask()))
    await nodes.until(() => token !== '')
    const act = { actor: 'operator:ana' }
    const done = await nodes.run(node.control.completeStep(token, 'yes', act))
    expect(done).toEqual({ id: 'asker/k', incarnation: 1, outcome: 'completed' })
    await nodes.refusal(node.control.failStep(token, 'no', act))
    await nodes.refusal(node.control.completeStep('st_forged', 'no', act))
    await nodes.until(async () => ((await node.stored('asker/k')) as { got: unknown }).got === 'yes')
    const { items } = { items: await node.core.backend.handle.archive.audit('default', { limit: 10 }) }
    expect(items.map(({ verb, target, outcome }) => [verb, target, outcome])).toEqual([
      ['complete-step', 'step/unknown', 'refused: STEP_NOT_FOUND'],
      ['fail-step', 'asker/k', 'refused: ALREADY_COMPLETED'],
      ['complete-step', 'asker/k', 'completed'],
    ])
    expect(JSON.stringify(items)).not.toContain(token)
    await nodes.close()
  })
})
