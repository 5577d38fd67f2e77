import { beforeEach, describe, expect, test } from 'vitest'
import { createApp, ENDPOINTS } from '../../server/http/app.ts'
import { BODY_BYTES_MAX } from '../../server/http/body.ts'
import { ToyWorld } from '../support/toy-inspect.ts'

const HOST = 'http://127.0.0.1:4711'
let world: ToyWorld
let reported: unknown[]
let app: ReturnType<typeof createApp>

beforeEach(() => {
  world = new ToyWorld()
  reported = []
  const report = (error: unknown, trace: string) => reported.push([(error as Error).message, trace])
  world.add('supervisor/desk', { kind: 'supervisor', strategy: 'one_for_one' })
  world.add('order/17', { parent: 'supervisor/desk', status: 'waiting' })
  world.add('order/18', { parent: 'supervisor/desk' })
  app = createApp({ inspect: world, control: world, web: false, report })
})

async function get(path: string, headers: Record<string, string> = {}) {
  const response = await app.request(`${HOST}/api/v1${path}`, { headers: { host: '127.0.0.1:4711', ...headers } })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.json() }
}

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await app.request(`${HOST}/api/v1${path}`, {
    method: 'POST',
    headers: { host: '127.0.0.1:4711', 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.json() }
}

describe('reading', () => {
  test('[H1] lists processes with total and cursor', async () => {
    const { status, body } = await get('/processes?limit=2')
    expect(status).toBe(200)
    expect(body.total).toBe(3)
    expect(body.items).toHaveLength(2)
    expect(body.items[0]).toMatchObject({ id: 'order/17', kind: 'agent', status: 'waiting', wait: null, durable: true })
    const next = await get(`/processes?limit=2&cursor=${encodeURIComponent(body.cursor)}`)
    expect(next.body.items.map((row: { id: string }) => row.id)).toEqual(['supervisor/desk'])
    expect(next.body.cursor).toBeNull()
  })

  test('[H1] the filters of the list narrow it', async () => {
    const ids = async (query: string) =>
      (await get(`/processes?${query}`)).body.items.map((row: { id: string }) => row.id)
    expect(await ids('q=status:waiting')).toEqual(['order/17'])
    expect(await ids('agent=order&status=idle')).toEqual(['order/18'])
    expect(await ids('under=supervisor%2Fdesk&q=-agent:supervisor')).toEqual(['order/17', 'order/18'])
  })

  test.each(['order/a b', 'order/100%', 'order/%2F', 'order/é?#&', 'order/a/b/c', 'order/日本', 'order/a+b'])(
    '[H2] the percent-encoded id %s names its process',
    async (id) => {
      world.add(id)
      const { status, body } = await get(`/processes/${encodeURIComponent(id)}`)
      expect(status).toBe(200)
      expect(body.id).toBe(id)
    },
  )

  test('[H1] state, mailbox, journal and failures of a process', async () => {
    await post('/processes/order%2F17/call', { op: 'add', args: null })
    expect((await get('/processes/order%2F17/state')).body).toEqual({ version: 1, value: { count: 1 } })
    await post('/processes/order%2F17/send', { op: 'add', args: { n: 1 } })
    expect((await get('/processes/order%2F17/mailbox')).body).toMatchObject({ total: 1, items: [{ op: 'add' }] })
    expect((await get('/processes/order%2F17/journal')).body.items).toEqual([])
    expect((await get('/processes/order%2F17/failures')).body.items).toEqual([])
  })

  test('[H3] probes tell whether the runtime is up', async () => {
    expect(await get('/healthz')).toMatchObject({ status: 200, body: { status: 'ok' } })
    expect(await get('/readyz')).toMatchObject({ status: 200, body: { ready: true } })
    world.storeUp = false
    expect(await get('/readyz')).toMatchObject({ status: 503, body: { ready: false } })
  })

  test('[H3] metrics are Prometheus text', async () => {
    const response = await app.request(`${HOST}/api/v1/metrics`, { headers: { host: '127.0.0.1:4711' } })
    expect(await response.text()).toMatch(/^vivarium_processes\{status="waiting"\} 1$/m)
  })

  test('[H4] the OpenAPI document lists every endpoint', async () => {
    const { body } = await get('/openapi.json')
    expect(body.openapi).toBe('3.1.0')
    for (const { method, path } of ENDPOINTS) expect(body.paths[path][method].summary).toBeTypeOf('string')
    const list = body.paths['/processes'].get.parameters.map((parameter: { name: string }) => parameter.name)
    expect(list).toEqual(expect.arrayContaining(['q', 'under', 'agent', 'status', 'sort', 'limit', 'cursor']))
    expect(body.paths['/processes/{id}/call'].post.requestBody.content['application/json'].schema.required).toContain(
      'op',
    )
    const ids = Object.values<Record<string, { operationId: string }>>(body.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
  })
})

describe('acting', () => {
  test('[H5] verbs act and are audited with who and why', async () => {
    const { status, body } = await post('/processes/order%2F17/kill', { reason: 'stuck', incarnation: 1 })
    expect(status).toBe(200)
    expect(body).toMatchObject({ id: 'order/17', incarnation: 2 })
    expect(world.auditItems.at(-1)).toMatchObject({ actor: 'api:local', verb: 'kill', reason: 'stuck' })
    for (const verb of ['suspend', 'resume', 'restart', 'stop']) {
      expect((await post(`/processes/order%2F17/${verb}`, {})).status).toBe(200)
    }
    expect(world.rows.has('order/17')).toBe(false)
  })

  test('[H5] a verb without a body is a verb without a reason', async () => {
    const response = await app.request(`${HOST}/api/v1/processes/order%2F17/suspend`, {
      method: 'POST',
      headers: { host: '127.0.0.1:4711' },
    })
    expect(response.status).toBe(200)
  })

  test('[H5] send answers 202 with the message, call the reply, null when there is none', async () => {
    const sent = await post('/processes/order%2F17/send', { op: 'add', args: {} })
    expect(sent).toMatchObject({ status: 202, body: { messageId: expect.any(String) } })
    expect((await post('/processes/order%2F17/call', { op: 'add', args: {} })).body).toEqual({ reply: 1 })
    expect((await post('/processes/order%2F17/call', { op: 'forget' })).body).toEqual({ reply: null })
  })

  test('[H5] values that JSON lacks pass both ways in their tagged form', async () => {
    const args = { when: { $date: 1_000 }, tags: { $set: ['a'] }, price: { $n: '-0' } }
    expect((await post('/processes/order%2F17/call', { op: 'echo', args })).body).toEqual({ reply: args })
  })

  test('[H5] a message activates an unseen key of a known pool, and of no other', async () => {
    world.pools.add('order')
    expect((await post('/processes/order%2F99/send', { op: 'add', args: 1 })).status).toBe(202)
    expect(await post('/processes/nobody%2F99/send', { op: 'add', args: 1 })).toMatchObject({
      status: 404,
      body: { code: 'PROCESS_NOT_FOUND' },
    })
  })

  test('[H5] messages are cancelled, dropped and redelivered by their id', async () => {
    const { body } = await post('/processes/order%2F17/send', { op: 'add', args: 1 })
    const path = `/processes/order%2F17/messages/${body.messageId}`
    expect((await post(`${path}/redeliver`, {})).status).toBe(200)
    const cancel = await post(`${path}/cancel`, { reason: 'not wanted' })
    expect(cancel).toMatchObject({ status: 200, body: { id: 'order/17', outcome: 'cancel done' } })
    expect(world.auditItems.at(-1)).toMatchObject({ verb: 'cancel', reason: 'not wanted' })
    expect((await post('/processes/order%2F17/messages/m/cancel', { colour: 'red' })).status).toBe(400)
    expect((await post(`${path}/drop`, { reason: 'poison' })).status).toBe(200)
    expect(world.mailboxes.get('order/17')).toEqual([])
  })

  test('[H5] a plan says what would happen and does nothing', async () => {
    const { body } = await post('/plan', { verb: 'kill', target: 'order/17' })
    expect(body.affected).toHaveLength(1)
    expect(world.rows.get('order/17')?.incarnation).toBe(1)
  })
})

describe('refusing', () => {
  test.each([
    ['get', '/processes/none%2F1', undefined, 404, 'PROCESS_NOT_FOUND'],
    ['get', '/processes/none%2F1/state', undefined, 404, 'PROCESS_NOT_FOUND'],
    ['get', '/processes?limit=0', undefined, 400, 'REQUEST_INVALID'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$bytes":"***"}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$n":"NaN"}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$n":"7"}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$date":"x"}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$map":[1]}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$map":[[1,2]]}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$set":[{}]}}', 422, 'VALUE_UNSUPPORTED'],
    ['get', '/processes?colour=red', undefined, 400, 'REQUEST_INVALID'],
    ['get', '/processes?q=colour:red', undefined, 400, 'REQUEST_INVALID'],
    ['get', '/processes?status=asleep', undefined, 400, 'REQUEST_INVALID'],
    ['get', '/nothing', undefined, 404, 'NOT_FOUND'],
    ['get', '/feed', undefined, 426, 'UPGRADE_REQUIRED'],
    ['post', '/processes/order%2F17/kill', '{"reason":', 400, 'REQUEST_INVALID'],
    ['post', '/processes/order%2F17/kill', '[]', 400, 'REQUEST_INVALID'],
    ['post', '/processes/order%2F17/kill', '{"incarnaton":1}', 400, 'REQUEST_INVALID'],
    ['post', '/processes/order%2F17/kill', '{"incarnation":7}', 409, 'INCARNATION_GONE'],
    ['post', '/processes/order%2F17/explode', '{}', 404, 'NOT_FOUND'],
    ['post', '/processes/order%2F17/send', '{"args":1}', 400, 'REQUEST_INVALID'],
    ['post', '/processes/order%2F17/send', '{"op":"nope"}', 404, 'OPERATION_UNKNOWN'],
    [
      'post',
      '/processes/order%2F17/send',
      '{"op":"echo","args":{"a":{"__proto__":{"x":1}}}}',
      422,
      'VALUE_UNSUPPORTED',
    ],
    ['post', '/processes/order%2F17/send', '{"op":"echo","args":{"$x":1}}', 422, 'VALUE_UNSUPPORTED'],
    ['post', '/processes/order%2F17/call', '{"op":"echo","timeoutMs":0}', 400, 'REQUEST_INVALID'],
  ] as const)('[H6] %s %s %s answers %i %s', async (method, path, body, status, code) => {
    const answer = method === 'get' ? await get(path) : await post(path, body ?? '')
    expect(answer.status).toBe(status)
    expect(answer.type).toBe('application/problem+json')
    expect(answer.body).toMatchObject({ code, status, type: `/problems/${code}` })
    expect(answer.body.detail.length).toBeGreaterThan(10)
  })

  test.each([
    ['{"a":[0,{"$bytes":"***"}]}', '$.a[1]["$bytes"]'],
    ['{"a":{"$map":[["k",{"b":{"$n":"7"}}]]}}', '$.a["$map"][0].b["$n"]'],
    ['{"a":{"$set":[1,[2]]}}', '$.a["$set"][1]'],
  ])('[H6] the refusal of %s names %s', async (args, path) => {
    const { body } = await post('/processes/order%2F17/send', `{"op":"echo","args":${args}}`)
    expect(body.detail).toContain(`Value at ${path} `)
  })

  test('[H6] the refusal names the path of what is wrong', async () => {
    expect((await post('/processes/order%2F17/kill', { incarnation: 'one' })).body.detail).toMatch(/body\.incarnation/)
    expect((await post('/processes/order%2F17/call', { op: 'echo', args: { a: { $x: 1 } } })).body.detail).toContain(
      '$x',
    )
  })

  test('[H6] a body over the limit is refused while it arrives', async () => {
    const body = JSON.stringify({ op: 'echo', args: 'x'.repeat(BODY_BYTES_MAX) })
    expect(await post('/processes/order%2F17/send', body)).toMatchObject({
      status: 413,
      body: { code: 'PAYLOAD_TOO_LARGE' },
    })
  })

  test('[H6] a body of another type is refused, so that a plain form of another site cannot act', async () => {
    const headers = { 'content-type': 'text/plain' }
    expect(await post('/processes/order%2F17/kill', '{"reason":"x"}', headers)).toMatchObject({ status: 400 })
    expect(world.rows.get('order/17')?.incarnation).toBe(1)
  })

  test('[H7] an error that is not ours leaves without its text and is reported', async () => {
    world.nodes = () => Promise.reject(new Error('password=hunter2'))
    const { status, body } = await get('/nodes')
    expect(status).toBe(500)
    expect(body.code).toBe('INTERNAL')
    expect(JSON.stringify(body)).not.toContain('hunter2')
    expect(reported).toEqual([['password=hunter2', body.trace]])
    expect(body.detail).toContain(body.trace)
  })
})
