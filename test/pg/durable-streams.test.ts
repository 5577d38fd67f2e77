/**
 * The public conformance tests of the Durable Streams protocol, run against our server as the program they are:
 * they bring a vitest of their own.
 */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Runtime } from '../../server/host/runtime-facade.ts'
import type { Listening } from '../../server/http/listen.ts'
import { migrate } from '../../server/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { World } from '../support/runtime.ts'

/** Tests of 0.3.6 without those of subscriptions, which docs/durable-streams.md says we do not have. */
const TESTS = 332
const FAILURES: readonly string[] = []
/** Ms a long-poll waits: tests wait for its end within their five seconds. */
const LONG_POLL_MS = 1_000
/** Ms. Most of it are streams that the tests let expire. */
const RUN_MS = 90_000

let database: TestDatabase
let world: World
let listening: Listening

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  world = World.postgres(database.connection)
  const node = await world.node('a', [])
  listening = await new Runtime(node.core, {}).listen({ port: 0, web: false, longPollMs: LONG_POLL_MS })
})
afterAll(async () => {
  await listening.close()
  await world.close()
  await database.drop()
})

type Report = {
  numPassedTests: number
  testResults: { assertionResults: { status: string; fullName: string }[] }[]
}

async function conformance(url: string): Promise<Report> {
  const suite = dirname(
    createRequire(import.meta.url).resolve('@durable-streams/server-conformance-tests/package.json'),
  )
  const vitest = join(dirname(createRequire(join(suite, 'package.json')).resolve('vitest/package.json')), 'vitest.mjs')
  const runner = join(suite, 'dist', 'test-runner.js')
  const config = join(import.meta.dirname, '../support/conformance/vitest.config.ts')
  const args = [
    'run',
    runner,
    '--root',
    suite,
    '--config',
    config,
    '--reporter=json',
    '--no-coverage',
    '--maxWorkers=1',
  ]
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, CONFORMANCE_TEST_URL: url }
  const child = spawn(process.execPath, [vitest, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let complaints = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString()
  })
  await new Promise((resolve) => child.once('close', resolve))
  const at = out.indexOf('{"num')
  if (at < 0) expect.fail(`The conformance tests gave no report: ${complaints}${out.slice(0, 2_000)}`)
  return JSON.parse(out.slice(at)) as Report // the JSON reporter's own form
}

test(
  '[R6] the public conformance tests of Durable Streams pass, but for those that are explained',
  async () => {
    const report = await conformance(`${listening.url}/api/v1/streams`)
    const results = report.testResults.flatMap(({ assertionResults }) => assertionResults)
    const failed = results.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName)
    expect(failed).toEqual(FAILURES)
    expect(report.numPassedTests).toBe(TESTS - FAILURES.length)
  },
  RUN_MS,
)
