/**
 * The main job on the real thing: a child process with its own embedded database works through requests, is killed, is
 * stopped, is fed, and `desk:check` proves from SQL that nothing was lost and nothing doubled.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { audit, openRequests } from '../../examples/desk/audit.ts'
import { products } from '../../examples/desk/shop.ts'
import { DeskPlace } from '../support/desk-child.ts'

/** A machine that does ten other things must not fail these; a calm one needs a tenth. */
const TIMEOUT_MS = 180_000
const REQUESTS = 120
/** From the open desk to the last answer. */
const WORK_MS_MAX = 20_000

let place: DeskPlace
beforeEach(async () => {
  place = await DeskPlace.create()
})
afterEach(() => place.clean())

async function inboxOf(count: number): Promise<string> {
  const text = await readFile(new URL('../../examples/desk/inbox.jsonl', import.meta.url), 'utf8')
  const path = join(place.dir, 'inbox.jsonl')
  await writeFile(path, `${text.split('\n').slice(0, count).join('\n')}\n`)
  return path
}

/** Looks until every request that was taken in has its outcome; nothing may be broken on the way. */
async function worked(count: number): Promise<void> {
  for (;;) {
    const evidence = await place.evidence()
    expect(audit(evidence, products)).toEqual([])
    if (evidence.accepted.size >= count && openRequests(evidence).size === 0) return
  }
}

describe('the desk', () => {
  test('works through 120 requests within 20 s, and the check passes', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const desk = place.start('--rate', '200', '--inbox', await inboxOf(REQUESTS))
    await desk.url()
    const begun = performance.now()
    await desk.printed(/inbox is read: 120 requests/)
    await worked(REQUESTS)
    expect(performance.now() - begun).toBeLessThan(WORK_MS_MAX)
    const report = await place.check()
    expect(report).toMatchObject({ ok: true, code: 0, accepted: REQUESTS, answered: REQUESTS, deadLetters: 0 })
    expect(report.orders).toBeGreaterThan(20)
    expect(report.rate).toBeGreaterThanOrEqual(0.9)
    expect(await desk.end('SIGTERM')).toBe(0)
    expect((await place.check()).ok).toBe(true)
  })

  test('killed in the middle, three times, it loses nothing and doubles nothing', { timeout: TIMEOUT_MS }, async () => {
    const args = ['--rate', '60', '--ship-after', '1500', '--chaos', '--inbox', await inboxOf(REQUESTS)]
    for (let kills = 1; kills <= 3; kills++) {
      const desk = place.start(...args)
      const url = await desk.url()
      await tookIn(url, kills * 25)
      await desk.end('SIGKILL')
      const evidence = await place.evidence()
      expect(audit(evidence, products)).toEqual([])
      expect(evidence.accepted.size).toBeGreaterThanOrEqual(kills * 25)
    }
    const desk = place.start(...args)
    await desk.printed(/inbox is read: 120 requests/)
    await worked(REQUESTS)
    expect(await desk.end('SIGTERM')).toBe(0)
    const report = await place.check()
    expect(report).toMatchObject({ ok: true, findings: [] })
    expect(report.answered).toBeGreaterThanOrEqual(REQUESTS)
  })

  test('takes requests from standard input, refuses what is none, and skips what it had', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const lines = (await readFile(await inboxOf(5), 'utf8')).trimEnd()
    const first = place.start('--inbox', '-', '--rate', '100')
    await first.feed(`${lines}\nno json\n{"n":6,"customer":"Not A Key","text":"x"}\n`)
    await first.printed(/Standard input ended: 5 requests taken in, 0 repeated/)
    expect(first.output).toMatch(/Line 6 is no request: .*JSON/)
    expect(first.output).toMatch(/Line 7 is no request: customer: /)
    await first.end('SIGKILL')
    const second = place.start('--inbox', '-', '--rate', '100')
    await second.feed(lines)
    await second.printed(/Standard input ended: 0 requests taken in, 5 repeated/)
    await worked(5)
    expect(await place.check()).toMatchObject({ ok: true, accepted: 5, answered: 5 })
  })

  test('answers a typed message over HTTP, once under one name', { timeout: TIMEOUT_MS }, async () => {
    const desk = place.start('--inbox', '-')
    const url = await desk.url()
    const say = () => call(url, 'concierge/zoe', 'say', { text: 'two stoneware mugs please', request: 'web-1' })
    const first = await say()
    expect(first).toMatchObject({ request: 'web-1', settled: [{ intent: 'order', outcome: 'ordered' }] })
    expect(await say()).toEqual(first)
    expect(await call(url, 'concierge/zoe', 'reply', 'web-1')).toMatchObject({ text: (first as { text: string }).text })
    await expect(call(url, 'concierge/zoe', 'say', { txet: 'hello' })).rejects.toThrow('SCHEMA_MISMATCH')
    await worked(0)
    expect(await place.check()).toMatchObject({ ok: true, answered: 1, orders: 1 })
  })

  test('a busy port is named with its holder', { timeout: TIMEOUT_MS }, async () => {
    const first = place.start('--inbox', '-')
    const port = new URL(await first.url()).port
    const second = place.start('--inbox', '-', '--port', port)
    expect(await second.exit()).toBe(1)
    expect(second.output).toMatch(new RegExp(`PORT_IN_USE: .*${port}`))
  })
})

/** Resolves once the desk took in `count` requests, by its own word. */
async function tookIn(url: string, count: number): Promise<void> {
  for (;;) {
    const { accepted } = (await call(url, 'desk/main', 'progress', null)) as { accepted: number }
    if (accepted >= count) return
  }
}

async function call(url: string, id: string, op: string, args: unknown): Promise<unknown> {
  const response = await fetch(`${url}/api/v1/processes/${encodeURIComponent(id)}/call`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ op, args }),
  })
  const body = (await response.json()) as { reply?: unknown; code?: string }
  if (!response.ok) throw new Error(JSON.stringify(body))
  return body.reply
}
