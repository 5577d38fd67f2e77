/**
 * Restate's side: its server beside this process, on a store of its own in a temp folder with fsync on, and in this
 * process the service (HTTP/2 on loopback) and the callers (its ingress, by unix socket). A run is one invocation.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { createServer, type Http2Server, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { LANES } from './measure.ts'
import type { Place, Side } from './side.ts'

/** Only what is called here: the product's type check must not need the peers. */
type Context = { run<R>(name: string, work: () => R): Promise<R> }
type Restate = {
  service(definition: {
    readonly name: string
    readonly handlers: Readonly<Record<string, (ctx: Context, input: number) => Promise<number>>>
  }): unknown
  createEndpointHandler(options: {
    readonly services: readonly unknown[]
    readonly logger: (meta: { readonly level: string }, ...message: readonly unknown[]) => void
  }): (request: Http2ServerRequest, response: Http2ServerResponse) => void
}

const PACKAGE: string = '@restatedev/restate-sdk'
/** Short: it is part of the paths of its sockets, which may have about a hundred bytes. */
const NODE_NAME = 'n1'
/** Ms until the server must be ready, and between two looks. */
const READY_MS_MAX = 30_000
const READY_POLL_MS = 50
/** Ms the server gets to end by itself: its store is thrown away, so nothing is lost by a kill. */
const STOP_MS_MAX = 5_000

/** Defaults of the server but for these; fsync is on by default and stays on. */
const settings = (partitions: number) => `
node-name = "${NODE_NAME}"
listen-mode = "unix"
disable-telemetry = true
log-filter = "error,octocrab=off"
default-num-partitions = ${partitions}
`

export async function open(place: Place): Promise<Side> {
  const folder = join(place.folder, `restate-${place.round}`)
  await mkdir(folder)
  await writeFile(join(folder, 'restate.toml'), settings(place.setting))
  const service = await serve()
  const server = startServer(folder)
  const ingress = new Agent({ keepAlive: true, maxSockets: LANES })
  const socket = (name: string) => join(folder, NODE_NAME, `${name}.sock`)
  const admin = (path: string, body: unknown) => post(socket('admin'), { path, body })
  const { port } = service.address() as AddressInfo // it listens on TCP
  await untilReady(server, () => admin('/deployments', { uri: `http://127.0.0.1:${port}` }))
  await untilReady(server, () => post(socket('ingress'), { path: '/runner/run', body: 0 }))
  return {
    run: (steps) => post(socket('ingress'), { path: '/runner/run', body: steps, agent: ingress }),
    recorded: async () => {
      const query = "select count(*) as steps from sys_journal where entry_type = 'Command: Run'"
      const { rows } = JSON.parse(await admin('/query', { query })) as { rows: { steps: number }[] }
      return rows[0]?.steps ?? 0
    },
    close: async () => {
      ingress.destroy()
      await stopServer(server)
      service.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function serve(): Promise<Http2Server> {
  const { service, createEndpointHandler } = (await import(PACKAGE)) as Restate
  const runner = service({
    name: 'runner',
    handlers: {
      run: async (ctx, steps) => {
        let sum = 0
        for (let i = 0; i < steps; i++) sum += await ctx.run('work', () => i)
        return sum
      },
    },
  })
  const logger = (meta: { level: string }, ...message: readonly unknown[]) => {
    if (meta.level === 'error') console.error(...message)
  }
  const server = createServer(createEndpointHandler({ services: [runner], logger }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function startServer(folder: string): ChildProcess {
  const name = `@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`
  const program = createRequire(import.meta.url).resolve(name)
  const args = ['--config-file', join(folder, 'restate.toml'), '--base-dir', folder, '--no-logo']
  return spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function stopServer(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  server.kill('SIGTERM')
  const timer = setTimeout(() => server.kill('SIGKILL'), STOP_MS_MAX)
  await once(server, 'exit')
  clearTimeout(timer)
}

async function untilReady(server: ChildProcess, attempt: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      if (server.exitCode !== null || performance.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS))
    }
  }
}

type Post = { readonly path: string; readonly body: unknown; readonly agent?: Agent }

/** One request; its answer as text, an answer that is no success as an error. */
function post(socketPath: string, { path, body, agent }: Post): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const headers = { 'content-type': 'application/json', accept: 'application/json' }
  const sent = request({ socketPath, path, method: 'POST', headers, ...(agent === undefined ? {} : { agent }) })
  sent.once('error', reject)
  sent.once('response', (answer) => {
    let text = ''
    answer.setEncoding('utf8')
    answer.on('data', (chunk: string) => {
      text += chunk
    })
    answer.once('error', reject)
    answer.once('end', () => {
      const status = answer.statusCode ?? 0
      if (status >= 200 && status < 300) resolve(text)
      else reject(new Error(`Restate answered ${path} with ${status}: ${text}`))
    })
  })
  sent.end(JSON.stringify(body))
  return promise
}
