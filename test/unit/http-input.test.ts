/** Addresses: what no store can hold, parameters that mean two things, methods that are not there, and the document. */
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { createApp } from '../../server/http/app.ts'
import { ToyWorld } from '../support/toy-inspect.ts'

const HOST = 'http://127.0.0.1:4711'
let world: ToyWorld
let app: ReturnType<typeof createApp>

beforeEach(() => {
  world = new ToyWorld()
  world.add('order/17')
  app = createApp({ inspect: world, control: world, web: false, report: (error) => expect.fail(String(error)) })
})

async function ask(method: string, path: string, body?: string) {
  const headers = { host: '127.0.0.1:4711', 'content-type': 'application/json' }
  const response = await app.request(`${HOST}/api/v1${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  })
  const text = await response.text()
  return { status: response.status, allow: response.headers.get('allow'), body: text === '' ? null : JSON.parse(text) }
}

describe('what is refused before anything is read', () => {
  test.each([
    '/processes/order%2F%00',
    '/processes/order%2F%00/state',
    '/processes/order%2F%1e/mailbox',
    '/processes/order%2F%00/journal',
    '/processes/order%2F%00/failures',
    '/failures?process=%00',
    '/dead-letters?process=%00',
    '/audit?target=%00',
    '/processes?status=passive&q=%00',
    '/processes?status=passive&agent=%00',
    '/processes?status=passive&cursor=%00',
    '/processes?agent=',
    '/processes?under=',
    '/processes?limit=1e2',
    '/processes?limit=%205',
    '/processes?limit=1&limit=2',
    '/processes/order%2F17/mailbox?after=zz',
    '/processes/order%2F17/journal?before=0x10',
    '/processes/order%2F17/journal?before=1.5',
  ])('[H20] GET %s is refused', async (path) => {
    const { status, body } = await ask('GET', path)
    expect([status, body.code]).toEqual([400, 'REQUEST_INVALID'])
    expect(world.reads).toMatchObject({ scan: 0, process: 0, mailbox: 0, journal: 0 })
  })

  test.each([
    ['/processes/order%2F%00/kill', '{}'],
    ['/processes/order%2F17/kill', '{"reason":"\\u0000"}'],
    ['/processes/order%2F17/send', '{"op":"\\u0000"}'],
    ['/processes/order%2F17/send', '{"op":"add","idempotencyKey":"\\u0000"}'],
    ['/plan', '{"verb":"kill","target":"\\u0000"}'],
  ])('[H20] POST %s %s is refused', async (path, body) => {
    expect((await ask('POST', path, body)).status).toBe(400)
    expect(world.auditItems).toEqual([])
  })

  test('[H20] values of agents may hold any text, and queries tabs', async () => {
    const { body } = await ask('POST', '/processes/order%2F17/call', '{"op":"echo","args":"a\\u0000b"}')
    expect(body).toEqual({ reply: 'a\u0000b' })
    expect((await ask('GET', '/processes?q=agent:order%09order')).body.total).toBe(1)
  })
})

test('[H21] another method of a known address is refused with those it has', async () => {
  expect(await ask('DELETE', '/processes/order%2F17')).toMatchObject({
    status: 405,
    allow: 'GET, HEAD',
    body: { code: 'METHOD_NOT_ALLOWED' },
  })
  expect(await ask('GET', '/processes/order%2F17/kill')).toMatchObject({ status: 405, allow: 'POST' })
  expect(await ask('POST', '/openapi.json')).toMatchObject({ status: 405, allow: 'GET, HEAD' })
  expect(await ask('POST', '/processes/order%2F17/explode')).toMatchObject({ status: 404, allow: null })
})

test('[H4] references of the OpenAPI document lead somewhere, and answers are as they are served', async () => {
  const { body } = await ask('GET', '/openapi.json')
  const refs = [...JSON.stringify(body).matchAll(/"\$ref":"#([^"]*)"/g)].map(([, path = '']) => path)
  expect(refs).toContain('/components/schemas/Process')
  for (const path of refs) {
    const found = path
      .split('/')
      .slice(1)
      .reduce<unknown>((at, part) => Reflect.get(Object(at), part), body)
    expect(found, path).toBeTypeOf('object')
  }
  const list = body.paths['/processes'].get
  expect(list.responses[200].content['application/json'].schema.required).toContain('total')
  expect(list.parameters.find(({ name }: { name: string }) => name === 'limit').schema).toMatchObject({
    type: 'integer',
  })
  expect(body.paths['/readyz'].get.responses[503].content['application/json'].schema.required).toContain('reasons')
})

test('[H7] without a host that listens, the cause goes to standard error under the trace of the answer', async () => {
  app = createApp({ inspect: world, control: world, web: false })
  world.nodes = () => Promise.reject(new Error('the cause'))
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  try {
    const { status, body } = await ask('GET', '/nodes')
    expect(status).toBe(500)
    expect(write).toHaveBeenCalledTimes(1)
    const [text] = write.mock.calls[0] ?? []
    expect(String(text)).toContain(body.trace)
    expect(String(text)).toContain('the cause')
  } finally {
    write.mockRestore()
  }
})
