/**
 * The observer inside a Hono app, under a path of its own, with the feed on the app's Node server.
 *
 *   node examples/04-embed-hono.ts
 */

import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createRuntime } from 'vivarium'

const data = process.argv[2]
const runtime = await createRuntime({
  modules: [new URL('./shop.ts', import.meta.url)],
  ...(data === undefined ? {} : { data }),
})
const app = new Hono()
app.get('/', (context) => context.text('The shop. Its agents: /ops/'))
app.route('/ops', runtime.observer({ basePath: '/ops' }))

const port = Number(process.argv[3] ?? 3000)
const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }, ({ port: bound }) => {
  console.log(`http://127.0.0.1:${bound}/ops/`)
})
runtime.attach(server as Server, { path: '/ops/api/v1/feed' }) // serve() without TLS options makes a plain http server

process.once('SIGTERM', async () => {
  server.close()
  await runtime.stop('SIGTERM')
  process.exit(0)
})
