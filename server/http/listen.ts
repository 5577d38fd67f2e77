/**
 * Listening: a port for an app that has no server of its own.
 *
 * - H12: an address that others can reach is bound only when they have to show who they are.
 * - H13: a busy port is refused with the name of the program that holds it, as far as the system tells.
 * - H14: `server.json` in the data folder says where the server is, for local tools (announcement.ts).
 */
import type { Server } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { RuntimeError } from '../../shared/error.ts'
import { type Clock, realClock } from '../clock.ts'
import { packageVersion, SERVER_FILE } from '../paths.ts'
import { Announcement } from './announcement.ts'
import { type AppOptions, createApp, FEED_PATH } from './app.ts'
import { createGuard } from './guard.ts'
import { portHolder } from './port-holder.ts'
import { reportToStderr } from './problem-answer.ts'

export const DEFAULT_PORT = 4711
const LOOPBACK = /^(127(\.\d{1,3}){3}|::1|localhost)$/
/** Milliseconds requests in flight have to end when the server closes. */
const CLOSE_MS = 2_000

/** A feed, as far as listening knows one. */
type Attachable = { attach(server: Server, path: string): () => void; close(reason?: string): void }

export type ListenOptions = AppOptions & {
  /** Units: TCP port; 0 takes a free one. Default 4711. */
  readonly port?: number
  /** Address to bind; loopback by default. */
  readonly host?: string
  /** Data folder for server.json; none is written without one. */
  readonly data?: string
  /** Takes the WebSocket upgrades, and is closed with the server. */
  readonly feed: Attachable
  readonly clock?: Clock
}

export type Listening = {
  readonly server: Server
  readonly url: string
  readonly port: number
  /** Stops listening, ends idle connections, and those in use after a moment. */
  close(): Promise<void>
}

/** @throws BIND_REFUSED PORT_IN_USE CONFIG_INVALID */
export async function listen(options: ListenOptions): Promise<Listening> {
  const { port = DEFAULT_PORT, host = '127.0.0.1', data, feed, clock = realClock(), report = reportToStderr } = options
  if (!createGuard(options).named && !LOOPBACK.test(host)) {
    throw new RuntimeError(
      'BIND_REFUSED',
      `Binding to ${host} would let anybody on the network in. Configure tokens or authorize, or bind to 127.0.0.1.`,
    )
  }
  const version = options.version ?? (await packageVersion())
  const app = createApp({ ...options, version })
  const server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }))
  await open(server, port, host)
  refuseStrayUpgrades(server)
  feed.attach(server, FEED_PATH)
  const bound = server.address() as AddressInfo // a TCP server that listens has one
  const url = `http://${urlHost(host)}:${bound.port}`
  const content = { url, pid: process.pid, startedAt: clock.now(), version }
  const announcement =
    data === undefined
      ? null
      : new Announcement(join(data, SERVER_FILE), content, {
          clock,
          report: (error) => report(error, SERVER_FILE),
        })
  await announcement?.publish()
  let closing: Promise<void> | null = null
  const close = async () => {
    await announcement?.withdraw()
    // Viewers first: a server waits for its sockets, upgraded ones too.
    feed.close()
    await closeServer(server, clock)
  }
  return {
    server,
    url,
    port: bound.port,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

async function open(server: Server, port: number, host: string): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    throw await openError(error, port, host)
  }
}

async function openError(error: unknown, port: number, host: string): Promise<unknown> {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    const holder = await portHolder(port)
    const who = holder === null ? 'another program' : `process ${holder.pid} (${holder.command})`
    const message = `Port ${port} on ${host} is held by ${who}. Stop it or choose another port (--port).`
    return new RuntimeError('PORT_IN_USE', message, { cause: error, detail: { port, holder } })
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'ERR_SOCKET_BAD_PORT') {
    const message = `Cannot listen on ${host}:${port} (${code}). Choose another host or port.`
    return new RuntimeError('CONFIG_INVALID', message, { cause: error })
  }
  return error
}

/** On our own server nobody else will answer an upgrade that the feed does not take; without an answer it hangs. */
function refuseStrayUpgrades(server: Server): void {
  server.on('upgrade', (request, socket) => {
    if (request.url?.split('?', 1)[0] === FEED_PATH) return
    socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
  })
}

function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}

async function closeServer(server: Server, clock: Clock): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const force = clock.after(CLOSE_MS, () => server.closeAllConnections())
  await closed
  force.cancel()
}
