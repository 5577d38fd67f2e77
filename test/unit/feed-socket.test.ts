import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { realClock } from '../../server/clock.ts'
import { Feed } from '../../server/feed/server.ts'
import { createGuard, type GuardOptions } from '../../server/http/guard.ts'
import { realRandom } from '../../server/random.ts'
import { CLIENT_FRAME_BYTES_MAX, FEED_PROTOCOL, type ServerFrame, serverFrameSchema } from '../../shared/frame.ts'
import { ToyWorld } from '../support/toy-inspect.ts'

const PATH = '/ops/api/v1/feed'
const ends: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function serve(options: GuardOptions = {}) {
  const world = new ToyWorld()
  world.add('order/1')
  const feed = new Feed({
    inspect: world,
    control: world,
    guard: createGuard(options),
    clock: realClock(),
    random: realRandom(),
    node: 'toy',
    version: '1',
  })
  const server: Server = createServer((_request, response) => response.end('host'))
  feed.attach(server, PATH)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  ends.push(() => {
    feed.close()
    server.closeAllConnections()
    return new Promise<void>((resolve) => server.close(() => resolve()))
  })
  return { world, feed, server, port, url: `ws://127.0.0.1:${port}${PATH}` }
}

type Opened = { socket: WebSocket; next: <T extends ServerFrame['t']>(t: T) => Promise<Extract<ServerFrame, { t: T }>> }

function open(url: string, headers: Record<string, string> = {}, protocol: string | string[] = FEED_PROTOCOL): Opened {
  const socket = new WebSocket(url, protocol, { headers })
  const frames: ServerFrame[] = []
  const waiters = new Set<() => void>()
  socket.on('message', (data) => {
    frames.push(serverFrameSchema.parse(JSON.parse(String(data))))
    for (const waiter of waiters) waiter()
  })
  ends.push(() => socket.terminate())
  const next: Opened['next'] = (t) =>
    new Promise((resolve) => {
      const look = () => {
        const at = frames.findIndex((frame) => frame.t === t)
        if (at < 0) return
        waiters.delete(look)
        const [frame] = frames.splice(at, 1)
        resolve(frame as Parameters<typeof resolve>[0])
      }
      waiters.add(look)
      look()
    })
  return { socket, next }
}

/** Status and body of a refused upgrade. */
function refused({ socket }: Opened): Promise<{ status: number | undefined; code: unknown }> {
  return new Promise((resolve, reject) => {
    socket.on('open', () => reject(new Error('The upgrade was accepted.')))
    socket.on('error', () => {})
    socket.on('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (part) => {
        body += part
      })
      response.on('end', () => resolve({ status: response.statusCode, code: JSON.parse(body).code }))
    })
  })
}

test('[F13] a viewer connects, subscribes and sees a change, over a real socket', async () => {
  const { world, url } = await serve()
  const { socket, next } = open(url)
  const hello = await next('hello')
  expect(hello).toMatchObject({ protocol: FEED_PROTOCOL, roles: ['admin'], node: 'toy' })
  socket.send(JSON.stringify({ t: 'sub', id: 's', topic: 'process:order/1' }))
  expect((await next('snap')).rows).toMatchObject([{ id: 'order/1', incarnation: 1 }])
  socket.send(JSON.stringify({ t: 'ack', id: 's', seq: 1 }))
  socket.send(JSON.stringify({ t: 'act', rid: 'k', verb: 'kill', target: 'order/1', key: 'k', incarnation: 1 }))
  expect((await next('act')).state).toBe('accepted')
  expect((await next('act')).state).toBe('done')
  world.emit({ kind: 'process:restart', id: 'order/1', incarnation: 2, delayMs: 0 })
  expect((await next('delta')).up).toMatchObject([{ id: 'order/1', incarnation: 2 }])
})

test('[F13] upgrades outside the path belong to the host, and so do requests', async () => {
  const { server, port } = await serve()
  const seen = new Promise<string | undefined>((resolve) => {
    server.on('upgrade', (request, socket) => {
      resolve(request.url)
      socket.end()
    })
  })
  open(`ws://127.0.0.1:${port}/host/socket`).socket.on('error', () => {})
  expect(await seen).toBe('/host/socket')
  expect(await (await fetch(`http://127.0.0.1:${port}${PATH}`)).text()).toBe('host')
})

test.each([
  ['a foreign Origin', { origin: 'https://evil.example' }, 'ORIGIN_REFUSED'],
  ['a null Origin', { origin: 'null' }, 'ORIGIN_REFUSED'],
  ['a rebound Host', { host: 'evil.example' }, 'HOST_REFUSED'],
])('[F13] an upgrade with %s is refused before it happens', async (_what, headers, code) => {
  const { url, feed } = await serve()
  expect(await refused(open(url, headers))).toEqual({ status: 403, code })
  expect(feed.cost().viewers).toBe(0)
})

test('[F13] an upgrade that does not speak our protocol is refused in words', async () => {
  const { url } = await serve()
  expect(await refused(open(url, {}, ['other.v9']))).toEqual({ status: 400, code: 'REQUEST_INVALID' })
})

test('[F13] the page of the same address connects', async () => {
  const { url, port } = await serve()
  await open(url, { origin: `http://127.0.0.1:${port}` }).next('hello')
})

test('[F12] a token comes as header, cookie or in hello', async () => {
  const { url } = await serve({ tokens: [{ token: 'secret', name: 'ana', role: 'viewer' }] })
  expect((await open(url, { authorization: 'Bearer secret' }).next('hello')).roles).toEqual(['viewer'])
  expect((await open(url, { cookie: 'vivarium_token=secret' }).next('hello')).roles).toEqual(['viewer'])
  const late = open(url)
  late.socket.on('open', () => late.socket.send('{"t":"hello","token":"secret"}'))
  expect((await late.next('hello')).roles).toEqual(['viewer'])
  const wrong = open(url)
  wrong.socket.on('open', () => wrong.socket.send('{"t":"hello","token":"guess"}'))
  expect((await wrong.next('error')).problem.code).toBe('UNAUTHORIZED')
  expect((await wrong.next('bye')).code).toBe(1008)
})

test('[F17] a frame over the limit is refused in words, one far over it ends the connection', async () => {
  const { url, feed } = await serve()
  const { socket, next } = open(url)
  await next('hello')
  socket.send('x'.repeat(CLIENT_FRAME_BYTES_MAX + 1))
  expect((await next('error')).problem.code).toBe('PAYLOAD_TOO_LARGE')
  const closed = new Promise<number>((resolve) => socket.on('close', resolve))
  socket.send('x'.repeat(5 * CLIENT_FRAME_BYTES_MAX))
  expect(await closed).toBe(1009)
  expect(feed.cost().viewers).toBe(0)
})

test('[F14] closing says goodbye with a reason', async () => {
  const { url, feed } = await serve()
  const { socket, next } = open(url)
  await next('hello')
  const closed = new Promise<number>((resolve) => socket.on('close', resolve))
  feed.close()
  expect(await next('bye')).toMatchObject({ code: 1001 })
  expect(await closed).toBe(1001)
})

test('[F21] two places of one feed share collectors, and each has its own guard and its own end', async () => {
  const { feed, url, server } = await serve()
  const guard = createGuard({ tokens: [{ token: 'secret', name: 'ana', role: 'operator' }] })
  const side = feed.entrance(guard)
  side.attach(server, '/side')
  const aside = url.replace(PATH, '/side')
  const one = open(url)
  await one.next('hello')
  one.socket.send(JSON.stringify({ t: 'sub', id: 's', topic: 'vitals' }))
  await one.next('snap')
  const two = open(aside, { authorization: 'Bearer secret' })
  await two.next('hello')
  two.socket.send(JSON.stringify({ t: 'sub', id: 's', topic: 'vitals' }))
  await two.next('snap')
  expect(feed.collectors).toBe(1)
  const wrong = open(aside)
  wrong.socket.on('open', () => wrong.socket.send('{"t":"hello","token":"guess"}'))
  expect((await wrong.next('error')).problem.code).toBe('UNAUTHORIZED')

  const ended = new Promise((resolve) => two.socket.once('close', resolve))
  side.close()
  await ended
  expect(one.socket.readyState).toBe(WebSocket.OPEN)
  // What was begun at one place is not to be had at another, though both call the viewer the same.
  feed.entrance(createGuard({})).attach(server, '/plain')
  const three = open(url.replace(PATH, '/plain'))
  const { session } = await three.next('hello')
  three.socket.send(JSON.stringify({ t: 'sub', id: 's', topic: 'vitals' }))
  const { seq } = await three.next('snap')
  const four = open(url)
  await four.next('hello')
  four.socket.send(JSON.stringify({ t: 'sub', id: 's', topic: 'vitals', resume: { session, seq } }))
  expect((await four.next('snap')).seq).toBe(1)
})
