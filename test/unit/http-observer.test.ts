import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApp } from '../../server/http/app.ts'
import { ToyWorld } from '../support/toy-inspect.ts'

const SCRIPT = 'console.log(1);\n'.repeat(200)
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vivarium-web-'))
  await mkdir(join(folder, 'web/assets'), { recursive: true })
  await writeFile(join(folder, 'secret.txt'), 'secret')
  await writeFile(
    join(folder, 'web/index.html'),
    '<!doctype html><html><head><title>x</title></head><body></body></html>',
  )
  await writeFile(join(folder, 'web/assets/main-B3xY_9qk.js'), SCRIPT)
  await writeFile(join(folder, 'web/icon.svg'), '<svg/>')
  await symlink(join(folder, 'secret.txt'), join(folder, 'web/assets/link.txt'))
})

afterAll(() => rm(folder, { recursive: true }))

function build(options: Partial<Parameters<typeof createApp>[0]> = {}): Hono {
  const world = new ToyWorld()
  return createApp({ inspect: world, control: world, web: join(folder, 'web'), ...options })
}

async function get(app: Hono, path: string, headers: Record<string, string> = {}) {
  const response = await app.request(`http://127.0.0.1${path}`, { headers: { host: '127.0.0.1', ...headers } })
  return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
}

/** Where the page at `path` believes to be mounted. */
async function baseOf(app: Hono, path: string): Promise<string> {
  const { status, body } = await get(app, path)
  expect(status).toBe(200)
  const href = /<head><base href="([^"]*)">/.exec(body.toString())?.[1]
  expect(href).toBeDefined()
  return new URL(href ?? '', `http://127.0.0.1${path}`).pathname
}

describe('the page', () => {
  test.each(['/', '/agents', '/agents/order%2F17', '/agents/order%2F17/state'])(
    '[H15] the deep link %s knows its base',
    async (path) => {
      expect(await baseOf(build(), path)).toBe('/')
    },
  )

  test.each(['/ops', '/ops/', '/ops/agents', '/ops/agents/order%2F17'])(
    '[H15] mounted as a route, %s knows its base',
    async (path) => {
      const host = new Hono().route('/ops', build())
      expect(await baseOf(host, path)).toBe('/ops/')
      expect((await get(host, '/ops/api/v1/processes')).status).toBe(200)
      expect((await get(host, '/ops/assets/main-B3xY_9qk.js')).body.toString()).toBe(SCRIPT)
    },
  )

  test('[H15] mounted by a host that strips its prefix, pages below it know their base', async () => {
    const host = new Hono().mount('/deep/ops', build().fetch)
    expect(await baseOf(host, '/deep/ops/')).toBe('/deep/ops/')
    expect(await baseOf(host, '/deep/ops/agents/order%2F17')).toBe('/deep/ops/')
  })

  test('[H15] a base that is given is taken as it is', async () => {
    expect(await baseOf(build({ basePath: '/x&"y' }), '/agents')).toContain('/x&amp;')
  })

  test('[H16] pages allow nothing inline and nothing from elsewhere', async () => {
    const { headers } = await get(build(), '/')
    const policy = headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    expect(policy).not.toMatch(/https?:/)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('cache-control')).toBe('no-cache')
  })

  test('[H15] a folder without a page says how to build one', async () => {
    const { status, body } = await get(build({ web: join(folder, 'none') }), '/')
    expect(status).toBe(404)
    expect(body.toString()).toContain('npm run build:web')
  })
})

describe('assets', () => {
  test('[H17] hashed names are cached for ever, others are asked for again', async () => {
    const app = build()
    const { headers } = await get(app, '/assets/main-B3xY_9qk.js')
    expect(headers.get('cache-control')).toContain('immutable')
    expect(headers.get('content-type')).toContain('text/javascript')
    const icon = await get(app, '/icon.svg')
    expect(icon.headers.get('cache-control')).toBe('no-cache')
    const etag = icon.headers.get('etag') ?? ''
    expect((await get(app, '/icon.svg', { 'if-none-match': etag })).status).toBe(304)
  })

  test('[H17] text is compressed for whoever reads gzip', async () => {
    const { headers, body } = await get(build(), '/assets/main-B3xY_9qk.js', { 'accept-encoding': 'br, gzip' })
    expect(headers.get('content-encoding')).toBe('gzip')
    expect(gunzipSync(body).toString()).toBe(SCRIPT)
  })

  test.each([
    '/assets/../../secret.txt',
    '/assets/..%2f..%2fsecret.txt',
    '/%2e%2e/secret.txt',
    '/assets/link.txt',
    '/assets/none-12345678.js',
  ])('[H17] %s leads to nothing outside the folder', async (path) => {
    const { body } = await get(build(), path)
    expect(body.toString()).not.toContain('secret\n')
    expect(body.toString()).not.toBe('secret')
  })
})

describe('the way in with a token', () => {
  const tokens = [{ token: 'se cret', name: 'ana', role: 'viewer' }] as const

  test('[H10] a link with the token leaves a cookie no script can read, and a clean address', async () => {
    const app = build({ tokens })
    const { status, headers } = await get(app, '/agents?token=se%20cret&q=status%3Awaiting')
    expect(status).toBe(303)
    expect(headers.get('location')).toBe('agents?q=status%3Awaiting')
    const cookie = headers.get('set-cookie') ?? ''
    expect(cookie).toMatch(/HttpOnly/)
    expect(cookie).toMatch(/SameSite=Strict/)
    const [pair = ''] = cookie.split(';')
    expect((await get(app, '/api/v1/processes', { cookie: pair })).status).toBe(200)
    expect((await get(app, '/agents?token=wrong')).status).toBe(401)
  })

  test('[H10] the page itself is shown to anybody, data to nobody without a token', async () => {
    const app = build({ tokens })
    expect((await get(app, '/')).status).toBe(200)
    expect((await get(app, '/api/v1/processes')).status).toBe(401)
  })
})
