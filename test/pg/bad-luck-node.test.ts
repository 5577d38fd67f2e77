/** Two nodes on one folder, one of them dying; a folder of another version; modules that cannot be loaded. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { createRuntime, type Runtime } from 'vivarium'
import { startEmbedded } from '../../server/store/embedded/embedded.ts'
import { processesBelow, testFolders } from '../support/embedded-folder.ts'
import { tallies, tally } from '../support/tally.ts'

const NODE = fileURLToPath(new URL('../support/tally-node.ts', import.meta.url))
/** Ms in which a survivor has taken over what a killed neighbour owned: recovery looks every second. */
const TAKEOVER_MS = 5_000

const folders = testFolders()
const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  expect(await folders.clear(), 'servers left running').toEqual([])
})

async function start(data: string): Promise<Runtime> {
  const runtime = await createRuntime({ root: tallies, data })
  cleanups.push(() => runtime.stop())
  return runtime
}

async function neighbour(data: string): Promise<{ child: ChildProcess; owns(key: string): Promise<void> }> {
  const child = fork(NODE, [data], { execArgv: ['--conditions=vivarium-source'] })
  const gone = once(child, 'exit')
  cleanups.push(async () => {
    child.kill('SIGTERM')
    await gone
  })
  expect(await once(child, 'message')).toEqual(['up', undefined])
  return {
    child,
    async owns(key) {
      child.send(key)
      expect(await once(child, 'message')).toEqual([key, undefined])
    },
  }
}

test('[B7] two runtimes on one folder are nodes of one system: calls and sends reach the owner', async () => {
  const data = await folders.make()
  const [runtime, other] = [await start(data), await neighbour(data)]
  await other.owns('theirs')
  await runtime.ref(tally, 'ours').add({ id: 'ours', fill: '' })
  await expect(runtime.ref(tally, 'theirs').add({ id: 'called', fill: '' })).resolves.toBe('theirs')
  await runtime.send(runtime.ref(tally, 'theirs').add({ id: 'sent', fill: '' }))
  await other.owns('ours')
  const started = await runtime.start(tally, 'theirs', 'add', { id: 'started', fill: '' })
  expect(await started.result()).toBe('theirs')
  expect(await runtime.ref(tally, 'theirs').seen()).toEqual({ 'child-theirs': 1, called: 1, sent: 1, started: 1 })
  expect(await runtime.ref(tally, 'ours').seen()).toEqual({ ours: 1, 'child-ours': 1 })
})

test('[B8] a killed node is buried by proof of its host, and the survivor takes over within seconds', async () => {
  const data = await folders.make()
  const [runtime, other] = [await start(data), await neighbour(data)]
  await other.owns('theirs')
  const gone = once(other.child, 'exit')
  other.child.kill('SIGKILL')
  await gone
  const killedAt = performance.now()
  await expect(runtime.ref(tally, 'theirs').add({ id: 'after', fill: '' }).run({ timeoutMs: 20_000 })).resolves.toBe(
    'theirs',
  )
  expect(performance.now() - killedAt).toBeLessThan(TAKEOVER_MS)
  expect(await runtime.ref(tally, 'theirs').seen()).toEqual({ 'child-theirs': 1, after: 1 })
})

test('[B9] a folder of another Postgres version is refused with its versions, and left alone', async () => {
  const data = await folders.make()
  const server = await startEmbedded({ dataDir: data })
  await server.release()
  await writeFile(join(data, 'postgres', 'cluster', 'PG_VERSION'), '14\n')
  await expect(start(data)).rejects.toMatchObject({
    code: 'EMBEDDED_VERSION_MISMATCH',
    message: expect.stringMatching(/14.*18|18.*14/s),
  })
  expect(await processesBelow(data)).toEqual([])
})

test.for([
  ['throws', `throw new Error('no key for the weather service')`, /no key for the weather service/],
  ['does not parse', 'export const = 1', /could not be loaded/],
  ['imports what is not there', `import 'no-such-package'`, /no-such-package/],
] as const)('[B10] a module that %s fails the start with its name, and nothing runs', async ([, text, message]) => {
  const data = await folders.make()
  const file = join(data, 'agents.mjs')
  await writeFile(file, text)
  const starting = createRuntime({ data, modules: [pathToFileURL(file)] })
  await expect(starting).rejects.toMatchObject({ code: 'MODULE_LOAD_FAILED', message: expect.stringMatching(message) })
  await expect(starting).rejects.toThrow(/agents\.mjs/)
  expect(await processesBelow(data)).toEqual([])
})
