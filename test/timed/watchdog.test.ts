/** Who holds the thread of the agents: in the process itself, and in programs that are held, stopped and debugged. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { agent, pool, type Runtime, type RuntimeEvent } from 'vivarium'
import type { BlockLog } from '../../server/host/block-log.ts'
import { CONTEXTS, hash, holder, holdOn, theBeat } from '../support/holder.ts'
import { memoryRuntime } from '../support/memory-runtime.ts'

type Block = Extract<RuntimeEvent, { kind: 'thread:block' }>

const STOPPED_MS = 800
const PROBE_ITERATIONS = 200_000
const NATIVE_MS = 2_500

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(): Promise<{ runtime: Runtime; blocks: Block[] }> {
  const runtime = await memoryRuntime({ root: pool(holder), watchdog: { warnMs: 200 } })
  cleanups.push(() => runtime.stop())
  const blocks: Block[] = []
  runtime.on(['thread:block'], (event) => {
    if (event.kind === 'thread:block' && isMeant(event)) blocks.push(event)
  })
  // What held the thread while the runtime started is a hold of its own.
  const { beat, count } = { beat: theBeat(), count: theBeat().count }
  await expect.poll(() => beat.count, { timeout: 10_000 }).toBeGreaterThan(count + 1)
  return { runtime, blocks }
}

/** A busy machine holds the thread of a test for 200 ms by itself now and then. */
const isMeant = ({ stack }: Block): boolean => /holdOn|workInParts/.test(stack.join())

const heard = (blocks: readonly Block[], count: number) =>
  expect.poll(() => blocks.length, { timeout: 10_000 }).toBe(count)

test.each(CONTEXTS)('[I1] code that holds the thread is named with its live stack: %s', async (context) => {
  const { runtime, blocks } = await start()
  await runtime.ref(holder, 'a').hold(context)
  await heard(blocks, 1)
  expect(blocks[0]).toMatchObject({ id: 'holder/a', incarnation: 1, op: 'hold' })
  expect(blocks[0]?.durationMs).toBeGreaterThan(150)
  expect(blocks[0]?.stack.join('\n')).toMatch(/holdOn \(.*holder\.ts:\d+:\d+\)/)
  // It went on as if nobody had looked.
  expect(await runtime.ref(holder, 'a').held()).toBe(1)
  const numbers = (await runtime.inspect.state('vivarium/watchdog')).value as unknown as BlockLog['stats']
  expect(numbers).toMatchObject({ watches: true, warnMs: 200 })
  expect(numbers.blockedMs).toBeGreaterThanOrEqual(blocks[0]?.durationMs ?? 0)
  expect(numbers.longest?.durationMs).toBeGreaterThanOrEqual(blocks[0]?.durationMs ?? 0)
})

test('[I1] native code that cannot be interrupted is told without a name, and nothing stays held', async () => {
  // Twice as long as the watchdog tries, on whatever machine: before a runtime starts, since this holds as well.
  const began = performance.now()
  hash(PROBE_ITERATIONS)
  const iterations = Math.ceil((PROBE_ITERATIONS * NATIVE_MS) / (performance.now() - began))
  const { runtime } = await start()
  const blocks: Block[] = []
  runtime.on(['thread:block'], (event) => {
    if (isBlock(event)) blocks.push(event)
  })
  await runtime.ref(holder, 'a').native(iterations)
  await expect.poll(() => blocks.some(({ durationMs }) => durationMs > 1_000), { timeout: 10_000 }).toBe(true)
  const native = blocks.find(({ durationMs }) => durationMs > 1_000)
  expect(native).toMatchObject({ id: 'vivarium/runtime', stack: [] })
  expect(await runtime.ref(holder, 'a').held()).toBe(0)
})

test('[I2] what belongs to no process is told by every runtime, what belongs to one by its own only', async () => {
  const [one, other] = [await start(), await start()]
  holdOn()
  await heard(one.blocks, 1)
  await heard(other.blocks, 1)
  expect(one.blocks[0]).toMatchObject({ id: 'vivarium/runtime', op: null })
  expect(one.blocks[0]?.stack.join('\n')).toContain('holdOn')
  await other.runtime.ref(holder, 'b').hold('sync')
  await heard(other.blocks, 2)
  expect(other.blocks[1]?.id).toBe('holder/b')
  expect(one.blocks).toHaveLength(1)
})

test('[I2] work that leaves the thread between its parts holds nothing', async () => {
  const { runtime, blocks } = await start()
  const polite = agent('polite', { state: () => null, durability: 'ephemeral', on: { work: workInParts } })
  const worker = await memoryRuntime({ root: pool(polite), watchdog: { warnMs: 200 } })
  cleanups.push(() => worker.stop())
  await worker.ref(polite, 'a').work()
  holdOn()
  await heard(blocks, 1)
  expect(blocks[0]?.id).toBe('vivarium/runtime')
  expect(await runtime.ref(holder, 'a').held()).toBe(0)
})

test('[I3] a block that lasts is spoken of on stderr while it lasts', async () => {
  const child = run('600000')
  const text = await spoken(child)
  expect(text).toMatch(
    /vivarium: spinner\/a \(spin\) has held the thread of its node for 2(\.\d)? s; nothing else runs\./,
  )
  expect(text).toMatch(/at spin \(.*watch-child\.ts:\d+:\d+\)/)
})

test('[I4] a thread that a person debugs is left alone', async () => {
  const child = run('1200', 'debug')
  const messages = listen(child)
  await said(child, 'done')
  child.send('stop')
  expect(await ended(child)).toBe(0)
  expect(messages.filter((message) => isBlock(message) && message.id === 'spinner/a')).toEqual([])
})

test('[I5] a program that stood still as a whole blames nobody, and ends with its runtime', async () => {
  const child = run('0')
  const messages = listen(child)
  await said(child, 'done')
  child.kill('SIGSTOP')
  await new Promise((resolve) => setTimeout(resolve, STOPPED_MS))
  child.kill('SIGCONT')
  await new Promise((resolve) => setTimeout(resolve, 200))
  child.send('stop')
  expect(await ended(child)).toBe(0)
  expect(messages.filter((message) => isBlock(message) && message.durationMs > STOPPED_MS / 2)).toEqual([])
})

test('[I5] without a watchdog nobody looks, and a limit below four beats is refused', async () => {
  const runtime = await memoryRuntime({ root: pool(holder), watchdog: false })
  cleanups.push(() => runtime.stop())
  expect(Reflect.get(globalThis, Symbol.for('vivarium.holder'))).toBeUndefined()
  expect((await runtime.inspect.state('vivarium/watchdog')).value).toEqual({ watches: false })
  const refused = memoryRuntime({ root: pool(holder), watchdog: { warnMs: 199 } })
  await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('199') })
})

async function workInParts(): Promise<void> {
  for (let part = 0; part < 30; part++) {
    const end = performance.now() + 10
    while (performance.now() < end);
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function run(...args: string[]): ChildProcess {
  const file = fileURLToPath(new URL('../support/watch-child.ts', import.meta.url))
  const child = spawn(process.execPath, ['--conditions=vivarium-source', file, ...args], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  const gone = ended(child)
  cleanups.push(() => {
    child.kill('SIGKILL')
    return gone
  })
  return child
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve(code))
  })
}

function listen(child: ChildProcess): unknown[] {
  const messages: unknown[] = []
  child.on('message', (message) => messages.push(message))
  return messages
}

function isBlock(message: unknown): message is Block {
  return typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'thread:block'
}

function said(child: ChildProcess, what: string): Promise<void> {
  return new Promise((resolve) => {
    child.on('message', (message) => message === what && resolve())
  })
}

function spoken(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.includes('watch-child.ts')) resolve(text)
    })
  })
}
