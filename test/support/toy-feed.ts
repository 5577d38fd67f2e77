/**
 * A server for tests of the observer: it serves the built pages under any mount path with the strictest content
 * security policy, and speaks the grammar of shared/frame.ts about a toy world. Every frame it sends is checked.
 *
 * By hand: `node test/support/toy-feed.ts [--port N] [--size PROCESSES] [--mount PATH]`.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type WebSocket, WebSocketServer } from 'ws'
import { isRuntimeError } from '../../shared/error.ts'
import {
  type ClientFrame,
  clientFrameSchema,
  FEED_PROTOCOL,
  type ServerFrame,
  serverFrameSchema,
} from '../../shared/frame.ts'
import { ToySubscription } from './toy-subscription.ts'
import { isProblem, problem, ToyWorld } from './toy-world.ts'

const WEB = fileURLToPath(new URL('../../dist/web', import.meta.url))

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
}

const POLICY = `default-src 'none'; ${['script', 'style', 'img', 'font', 'connect']
  .map((kind) => `${kind}-src 'self'; `)
  .join('')}base-uri 'self'`

const FLUSH_MS = 250
const PING_MS = 15_000

export type ToyFeed = {
  url: string
  world: ToyWorld
  acts: number
  refusing: boolean
  /** Keeps connections open and says nothing more, as a frozen server. */
  silent: boolean
  drop: () => void
  close: () => Promise<void>
}
export type ToyOptions = { size: number; port?: number; mount?: string; world?: ToyWorld }

export async function startToyFeed(options: ToyOptions): Promise<ToyFeed> {
  const mount = options.mount ?? '/'
  const world = options.world ?? new ToyWorld(options.size)
  const server = createServer((request, response) => {
    serve(request, response, mount).catch((error: unknown) => {
      response.writeHead(500).end(String(error))
    })
  })
  const sockets = new WebSocketServer({
    server,
    path: `${mount}api/v1/feed`,
    verifyClient: () => !feed.refusing,
    handleProtocols: (offered) => (offered.has(FEED_PROTOCOL) ? FEED_PROTOCOL : false),
  })
  const feed: ToyFeed = {
    url: '',
    world,
    acts: 0,
    refusing: false,
    silent: false,
    drop: () => {
      for (const socket of sockets.clients) socket.terminate()
    },
    close: async () => {
      clearInterval(life)
      feed.drop()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  const life = setInterval(() => world.tick(), 1_000)
  sockets.on('connection', (socket) => new ToySession(socket, feed))
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert(typeof address === 'object' && address !== null)
  feed.url = `http://127.0.0.1:${address.port}${mount}`
  return feed
}

class ToySession {
  readonly #socket: WebSocket
  readonly #feed: ToyFeed
  readonly #subscriptions = new Map<string, ToySubscription>()
  #paused = false

  constructor(socket: WebSocket, feed: ToyFeed) {
    this.#socket = socket
    this.#feed = feed
    feed.world.viewers++
    const flush = setInterval(() => this.#flush(), FLUSH_MS)
    const ping = setInterval(() => this.#send({ t: 'ping', at: Date.now() }), PING_MS)
    socket.on('message', (data) => this.#received(clientFrameSchema.parse(JSON.parse(String(data)))))
    socket.on('close', () => {
      clearInterval(flush)
      clearInterval(ping)
      feed.world.viewers--
    })
  }

  #received(frame: ClientFrame): void {
    const { world } = this.#feed
    switch (frame.t) {
      case 'hello': {
        const session = String(Math.random())
        const now = Date.now()
        return this.#send({
          t: 'hello',
          protocol: FEED_PROTOCOL,
          session,
          version: '0.1.0',
          node: 'node-1',
          roles: ['admin'],
          now,
          limits: {},
        })
      }
      case 'sub':
        this.#subscriptions.set(frame.id, new ToySubscription(world, frame.id, frame.topic, frame.view ?? {}))
        return this.#flushOne(frame.id)
      case 'view': {
        const subscription = this.#subscriptions.get(frame.id)
        if (subscription !== undefined) subscription.view = frame.view
        return this.#flushOne(frame.id)
      }
      case 'unsub':
        this.#subscriptions.delete(frame.id)
        return
      case 'ack':
        this.#subscriptions.get(frame.id)?.ack(frame.seq)
        return
      case 'get':
        return this.#get(frame)
      case 'plan': {
        const plan = world.plan(frame.verb, frame.target)
        if (isProblem(plan)) return this.#send({ t: 'error', id: null, rid: frame.rid, problem: plan })
        return this.#send({ t: 'plan', rid: frame.rid, plan })
      }
      case 'act':
        return this.#act(frame)
      case 'ping':
        return this.#send({ t: 'pong', at: frame.at })
      case 'pause':
      case 'resume':
        this.#paused = frame.t === 'pause'
        return
      case 'pong':
        return
      default:
        frame satisfies never
    }
  }

  #get(frame: Extract<ClientFrame, { t: 'get' }>): void {
    const { rid, ref } = frame
    const [, noun = '', id = '', seq] = /^(state|journal):(.+?)(?::(\d+))?$/.exec(ref) ?? []
    const process = this.#feed.world.processes.get(id)
    if (process === undefined) {
      const gone = problem('NOT_FOUND', 404, `There is nothing at ${ref}.`)
      return this.#send({ t: 'error', id: null, rid, problem: gone })
    }
    const item = process.journal.find((each) => each.seq === Number(seq))
    const state = { version: process.row.stateVersion, value: process.state, seq: process.row.turns, at: Date.now() }
    const body: unknown = noun === 'state' ? state : (item?.payload ?? null)
    const text = JSON.stringify(body)
    const hash = `${ref}@${noun === 'state' ? state.version : seq}`
    const unchanged = frame.hash === hash
    this.#send({
      t: 'blob',
      rid,
      ref,
      hash,
      bytes: text.length,
      unchanged,
      truncated: false,
      body: unchanged ? null : body,
    })
  }

  #act(frame: Extract<ClientFrame, { t: 'act' }>): void {
    this.#feed.acts++
    const { rid } = frame
    this.#send({ t: 'act', rid, state: 'accepted' })
    const result = this.#feed.world.act(frame)
    if (isProblem(result)) this.#send({ t: 'act', rid, state: 'failed', problem: result })
    else this.#send({ t: 'act', rid, state: 'done', result })
    this.#flush()
  }

  #flush(): void {
    for (const id of this.#subscriptions.keys()) this.#flushOne(id)
  }

  #flushOne(id: string): void {
    const subscription = this.#subscriptions.get(id)
    if (subscription === undefined || this.#paused) return
    try {
      const frame = subscription.next(Date.now())
      if (frame !== null) this.#send(frame)
    } catch (error) {
      if (!isRuntimeError(error)) throw error
      this.#send({ t: 'error', id, rid: null, problem: problem(error.code, 400, error.message) })
    }
  }

  #send(frame: ServerFrame): void {
    if (this.#feed.silent) return
    this.#socket.send(JSON.stringify(serverFrameSchema.parse(frame)))
  }
}

async function serve(request: IncomingMessage, response: ServerResponse, mount: string): Promise<void> {
  const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname)
  if (!path.startsWith(mount)) {
    response.writeHead(404).end()
    return
  }
  const wanted = join(WEB, normalize(`/${path.slice(mount.length)}`))
  const file = extname(wanted) !== '' && existsSync(wanted) ? wanted : join(WEB, 'index.html')
  const body = await readFile(file)
  response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream')
  response.setHeader('content-security-policy', POLICY)
  response.end(file.endsWith('.html') ? String(body).replace('<head>', `<head><base href="${mount}">`) : body)
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: 'string' }, size: { type: 'string' }, mount: { type: 'string' } },
  })
  const { url } = await startToyFeed({
    port: Number(values.port ?? 4_799),
    size: Number(values.size ?? 200),
    mount: values.mount ?? '/',
  })
  console.log(`toy feed at ${url}`)
}
