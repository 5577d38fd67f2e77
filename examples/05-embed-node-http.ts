/**
 * The observer in any Node server: here the one of `node:http`; Express, Fastify and Next hand over the same server.
 *
 *   node examples/05-embed-node-http.ts
 */

import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { createRuntime } from 'vivarium'

const data = process.argv[2]
const runtime = await createRuntime({
  modules: [new URL('./shop.ts', import.meta.url)],
  ...(data === undefined ? {} : { data }),
})
const observer = getRequestListener(runtime.observer({ basePath: '/' }).fetch)
const server = createServer((request, response) => {
  if (request.url === '/hello') response.end('hello from the host app\n')
  else void observer(request, response)
})
runtime.attach(server)
server.listen(Number(process.argv[3] ?? 3001), '127.0.0.1', () => {
  const address = server.address()
  console.log(`http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : ''}/`)
})

process.once('SIGTERM', async () => {
  server.close()
  await runtime.stop('SIGTERM')
  process.exit(0)
})
