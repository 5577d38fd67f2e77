import { describe, expect, test } from 'vitest'
import { createApp } from '../../server/http/app.ts'
import { ToyWorld } from '../support/toy-inspect.ts'

const TOKENS = [
  { token: 'look', name: 'ana', role: 'viewer' },
  { token: 'act', name: 'bob', role: 'operator' },
] as const

function build(options: Partial<Parameters<typeof createApp>[0]> = {}) {
  const world = new ToyWorld()
  world.add('order/17')
  return { world, app: createApp({ inspect: world, control: world, web: false, ...options }) }
}

type App = ReturnType<typeof createApp>

async function ask(app: App, headers: Record<string, string>, method = 'GET') {
  const path = method === 'GET' ? '/processes' : '/processes/order%2F17/kill'
  const type: Record<string, string> = method === 'GET' ? {} : { 'content-type': 'application/json' }
  const init = { method, headers: { ...type, ...headers }, ...(method === 'GET' ? {} : { body: '{}' }) }
  const response = await app.request(`http://127.0.0.1:4711/api/v1${path}`, init)
  const body: { code?: string } = await response.json()
  return { status: response.status, code: body.code }
}

describe('without credentials', () => {
  test.each(['127.0.0.1:4711', 'localhost', 'LOCALHOST:80', '[::1]:4711'])(
    '[H8] the Host %s is served',
    async (host) => {
      expect((await ask(build().app, { host })).status).toBe(200)
    },
  )

  test.each(['evil.example', 'evil.example:4711', '127.0.0.1.evil.example', '10.0.0.1', ''])(
    '[H8] the Host %j is refused: a name may have been rebound to loopback',
    async (host) => {
      expect(await ask(build().app, { host })).toEqual({ status: 403, code: 'HOST_REFUSED' })
    },
  )

  test('[H8] a listed host is served, under its own origin only', async () => {
    const { app } = build({ allowedHosts: ['box.local'] })
    expect((await ask(app, { host: 'box.local:4711' })).status).toBe(200)
    expect((await ask(app, { host: 'box.local:4711', origin: 'http://box.local:4711' }, 'POST')).status).toBe(200)
    expect((await ask(app, { host: 'box.local:4711', origin: 'http://box.local:9' }, 'POST')).code).toBe(
      'ORIGIN_REFUSED',
    )
  })

  test.each([
    ['http://127.0.0.1:4711', 200],
    ['http://127.0.0.1:4712', 403],
    ['http://localhost:4711', 403],
    ['https://evil.example', 403],
    ['null', 403],
    ['file://', 403],
  ])('[H9] a write from the page at %s answers %i', async (origin, status) => {
    const { app, world } = build()
    expect((await ask(app, { host: '127.0.0.1:4711', origin }, 'POST')).status).toBe(status)
    expect(world.auditItems).toHaveLength(status === 200 ? 1 : 0)
  })

  test('[H9] a write that a browser marks as cross-site is refused even without an Origin', async () => {
    const headers = { host: '127.0.0.1:4711', 'sec-fetch-site': 'cross-site' }
    expect((await ask(build().app, headers, 'POST')).code).toBe('ORIGIN_REFUSED')
  })

  test('[H5] local tools say who they are, within their own kinds of name', async () => {
    const { app, world } = build()
    await ask(app, { host: 'localhost', 'vivarium-actor': 'cli:root' }, 'POST')
    await ask(app, { host: 'localhost', 'vivarium-actor': 'admin:root' }, 'POST')
    expect(world.auditItems.map(({ actor }) => actor)).toEqual(['cli:root', 'api:local'])
  })
})

describe('with tokens', () => {
  const bearer = (token: string) => ({ host: 'anywhere.example', authorization: `Bearer ${token}` })

  test('[H10] nobody is let in without a token or with a wrong one', async () => {
    const { app } = build({ tokens: TOKENS })
    expect(await ask(app, { host: 'anywhere.example' })).toEqual({ status: 401, code: 'UNAUTHORIZED' })
    expect(await ask(app, bearer('guess'))).toEqual({ status: 401, code: 'UNAUTHORIZED' })
    expect((await ask(app, { host: 'x', cookie: 'a=b; vivarium_token=look' })).status).toBe(200)
  })

  test('[H10] probes need no token', async () => {
    const response = await build({ tokens: TOKENS }).app.request('http://x/api/v1/healthz')
    expect(response.status).toBe(200)
  })

  test('[H11] a viewer reads and cannot act; an operator acts under its name', async () => {
    const { app, world } = build({ tokens: TOKENS })
    expect((await ask(app, bearer('look'))).status).toBe(200)
    expect(await ask(app, bearer('look'), 'POST')).toEqual({ status: 403, code: 'FORBIDDEN' })
    expect((await ask(app, bearer('act'), 'POST')).status).toBe(200)
    expect(world.auditItems.map(({ actor }) => actor)).toEqual(['operator:bob'])
  })
})

describe('with the hook of a host', () => {
  test('[H11] the host decides who calls and with which roles', async () => {
    const { app, world } = build({
      authorize: (request) => {
        const user = request.headers.get('x-user')
        return user === null ? null : { actor: user, roles: user === 'eve' ? ['superuser'] : ['operator'] }
      },
    })
    expect((await ask(app, { host: 'x' })).code).toBe('UNAUTHORIZED')
    expect((await ask(app, { host: 'x', 'x-user': 'ana' }, 'POST')).status).toBe(200)
    expect(world.auditItems.map(({ actor }) => actor)).toEqual(['operator:ana'])
    // A role we do not know is no role.
    expect((await ask(app, { host: 'x', 'x-user': 'eve' })).code).toBe('FORBIDDEN')
  })
})
