/**
 * Rules of sandbox copies, for a store of either kind: what a copy is, that nothing gets out of it, that its original
 * does not notice, and that nothing of it is left.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import type { TestNode, World } from './runtime.ts'
import { type SandboxActors, sandboxActors } from './sandbox-actor.ts'

/** Ms: so long that nobody takes it for the time a stop takes by itself. */
const DRAIN_MS = 5_000

const act = { actor: 'operator:ana', reason: 'a look' }

export type SandboxWorld = {
  open(): World
  /** Names of the tables that hold a row of the process, audit excepted. */
  left(world: World, id: string, pid: number): Promise<string[]>
}

export function sandboxContract(name: string, kind: SandboxWorld): void {
  let world: World
  let actors: SandboxActors
  let key: string
  let id: string
  let copyId: string
  let n = 0
  beforeEach(() => {
    world = kind.open()
    actors = sandboxActors()
    key = `k${++n}`
    id = `desk/${key}`
    copyId = `${id}~1`
  })
  afterEach(async () => {
    actors.door.open()
    await world.close()
  })

  /** Turns in hand at the end of a test are of no interest to it. */
  const start = (node = 'a', drainMs = 100): Promise<TestNode> => world.node(node, actors.all, { drainMs })
  const fork = (node: TestNode, more: object = {}) => world.run(node.control.fork(id, { ...act, ...more }))
  const answer = (node: TestNode, value: unknown, step?: string) =>
    world.run(node.control.answer(copyId, { value }, { ...act, ...(step === undefined ? {} : { step }) }))
  const stopsAt = (node: TestNode, target: string): Promise<void> =>
    world.until(() => {
      const { wait = null } = node.core.kernel.find(copyId) ?? {}
      return wait?.kind === 'sandbox' && wait.target === target
    }, `a stop at ${target} ${'$'}{JSON.stringify(node.core.kernel.find(copyId)?.wait)} `)
  const rows = async (node: TestNode, of = id): Promise<string> =>
    JSON.stringify(await node.core.backend.handle.archive.exportProcess('default', of))
  const log = async (node: TestNode, of = copyId) => ((await node.stored(of)) as { log: unknown[] }).log
  const refusal = async (promise: Promise<unknown>): Promise<string> => (await world.refusal(promise)).code
  const mailed = async (node: TestNode, target: string): Promise<number> =>
    (await node.core.backend.handle.archive.mailbox('default', target, { limit: 9 })).length

  /** The original waits in its step `b`, behind `a` and a receive. */
  async function begin(node: TestNode): Promise<void> {
    await node.call(node.ref(actors.desk, key).note('first'))
    await node.start(node.ref(actors.desk, key).work())
    await world.until(() => actors.oracle.count('b') === 1)
    await world.run(node.control.send(id, 'note', 'for the turn', act))
    await world.until(async () => (await node.journal(id)).some(({ k }) => k === 'received'))
  }

  describe(`sandbox copies on ${name}`, () => {
    test('[E8] of a passive process: the newest state under a new id, marked, and the original as it was', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      await a.call(a.ref(actors.desk, key).note('two'))
      await a.stop()
      const b = await start('b')
      const before = await rows(b)
      expect(await fork(b)).toMatchObject({ id: copyId, outcome: expect.stringContaining('version 2') })
      expect(await log(b)).toEqual(['one', 'two'])
      const inspect = new RuntimeInspect(b.core)
      expect(await world.run(inspect.process(copyId))).toMatchObject({ sandbox: id, incarnation: 1 })
      expect((await b.journal(copyId))[0]).toMatchObject({
        k: 'forked',
        of: id,
        version: 2,
        by: act.actor,
        why: 'a look',
      })
      expect(await world.run(b.control.call(copyId, 'note', 'three', act))).toMatchObject({ reply: 3 })
      expect(await log(b)).toEqual(['one', 'two', 'three'])
      expect(await rows(b)).toBe(before)
      expect((await fork(b)).id).toBe(`${id}~2`)
      const [audit] = await b.core.backend.handle.archive.audit('default', { target: id, limit: 9 })
      expect(audit).toMatchObject({
        verb: 'fork',
        actor: act.actor,
        reason: 'a look',
        outcome: expect.stringContaining('~2'),
      })
    })

    test('[E8] of an earlier version, of a given state, and under a name', async () => {
      const a = await start()
      for (const text of ['one', 'two', 'three']) await a.call(a.ref(actors.desk, key).note(text))
      expect(await fork(a, { version: 2, as: `desk/${key}-then` })).toMatchObject({ id: `desk/${key}-then` })
      expect(await log(a, `desk/${key}-then`)).toEqual(['one', 'two'])
      await fork(a, { state: { log: ['x'.repeat(100_000)] } })
      expect(await log(a)).toEqual(['x'.repeat(100_000)])
      expect(await world.run(a.control.call(copyId, 'note', 'y', act))).toEqual({ reply: 2 })
    })

    test('[E8][E10] of an open turn: no recorded step is run again, and it stops where the journal ends', async () => {
      const a = await start()
      await begin(a)
      const before = await rows(a)
      await fork(a)
      await stopsAt(a, 'step b')
      expect(actors.oracle.log).toEqual(['a', 'b'])
      expect(a.core.kernel.find(copyId)?.wait).toMatchObject({ kind: 'sandbox', deadline: null })
      expect(await answer(a, 'mine')).toMatchObject({ id: copyId, outcome: 'answered b#0' })
      await stopsAt(a, `call bank/${key}~1 pay`)
      expect(a.core.kernel.find(copyId)?.wait?.progress).toBe('5')
      expect(await world.refusal(a.control.answer(copyId, { value: 1 }, { ...act, step: 'b#0' }))).toMatchObject({
        code: 'NOT_FOUND',
      })
      await world.run(a.control.answer(copyId, { error: 'no money' }, act))
      await world.until(async () => (await a.journal(copyId)).some(({ k }) => k === 'end'))
      expect(await log(a)).toEqual(['first', 'a', 'for the turn', 'mine', 'STEP_FAILED'])
      expect((await a.journal(copyId)).filter((entry) => entry.k === 'step' && entry.by === act.actor)).toHaveLength(2)
      expect(await rows(a)).toBe(before)
      expect(await a.stored(`bank/${key}~1`)).toBeUndefined()
      expect(actors.oracle.log).toEqual(['a', 'b'])
      actors.door.open()
      await world.until(async () => (await log(a, id)).length === 5)
      expect(await log(a, id)).toEqual(['first', 'a', 'for the turn', 'real', 5])
    })

    test('[E8] of a message that is tried again and stored nothing: the copy runs into it as well', async () => {
      const a = await start()
      await a.send(a.ref(actors.desk, key).stumble())
      await world.until(() => actors.oracle.count('stumble') === 1)
      await world.until(async () => {
        const [row] = await a.core.backend.handle.archive.mailbox('default', id, { limit: 1 })
        return (row?.attempts ?? 0) > 0
      })
      expect((await fork(a)).outcome).toContain('tried again')
      await world.until(() => a.seen('failure').some((event) => event.id === copyId))
    })

    test('[E9] nothing gets out: what it would do to others is in its journal alone', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      await a.call(a.ref(actors.listener, key).listen())
      await fork(a)
      await world.run(a.control.call(copyId, 'reach', `${key}`, act))
      await world.run(a.control.call(copyId, 'note', 'later', act))
      const ends = (await a.journal(copyId)).filter((entry) => entry.k === 'end' || entry.k === 'checkpoint')
      const withheld = ends.flatMap((entry) => entry.withheld ?? [])
      expect(withheld.map(({ what, target }) => [what, target])).toEqual([
        ['send', `bank/${key}`],
        ['register', `name-${key}`],
        ['send', `bank/${key}`],
        ['send', `mayfly/${key}`],
        ['publish', `news.${key}`],
        ['spawn', `bank/${key}-child`],
        ['monitor', `bank/${key}-child`],
        ['link', id],
        ['subscribe', 'news.*'],
      ])
      expect(withheld[0]).toMatchObject({ op: 'pay', args: 1 })
      await world.advance(50)
      const { archive, store } = a.core.backend.handle
      for (const other of [`bank/${key}`, `bank/${key}-child`]) {
        expect(await archive.process('default', other)).toBeNull()
        expect(await mailed(a, other)).toBe(0)
      }
      expect(a.core.kernel.find(`mayfly/${key}`)).toBeUndefined()
      expect(await log(a, `listener/${key}`)).toEqual(['on'])
      expect(await store.whereis('default', `name-${key}`)).toBeNull()
      const copy = await archive.process('default', copyId)
      expect(await archive.ties('default', copy?.pid ?? 0)).toMatchObject({ links: [], names: [] })
      // The same by the original does reach them.
      await a.call(a.ref(actors.desk, key).reach(key))
      await world.until(async () => (await a.stored(`bank/${key}`)) !== undefined)
      await world.until(async () => (await log(a, `listener/${key}`)).length === 2)
    })

    test('[E9][E10] the end of a copy stops no child of the original; a transaction stops the copy', async () => {
      const a = await start()
      await a.start(a.ref(actors.desk, key).parent(key))
      await world.until(
        () => actors.oracle.count('b') === 1 && a.core.kernel.find(`bank/${key}`)?.wait?.kind === 'step',
      )
      const before = await rows(a, `bank/${key}`)
      await fork(a)
      await stopsAt(a, 'step b')
      await answer(a, null)
      await stopsAt(a, 'transaction')
      await answer(a, 'sql')
      await stopsAt(a, `start bank/${key} pay`)
      await answer(a, true)
      await world.until(async () => (await a.journal(copyId)).some(({ k }) => k === 'end'))
      await world.advance(50)
      expect(await log(a)).toEqual(['sql'])
      expect(await mailed(a, `bank/${key}`)).toBe(1)
      expect(await rows(a, `bank/${key}`)).toBe(before)
      expect(actors.oracle.count('sql')).toBe(0)
    })

    test('[E10] an external step that waits outside waits for an operator in the copy, under no token', async () => {
      const a = await start()
      await a.start(a.ref(actors.desk, key).approve())
      await world.until(() => actors.tokens.length === 1)
      await world.until(async () => (await a.journal(id)).some(({ k }) => k === 'handed'))
      await fork(a)
      await stopsAt(a, 'step ok')
      const [token = ''] = actors.tokens
      await world.run(a.control.completeStep(token, 'theirs', act))
      await world.until(async () => (await log(a, id)).length === 1)
      expect(a.core.kernel.find(copyId)?.wait).toMatchObject({ kind: 'sandbox', target: 'step ok' })
      a.kill()
      const b = await start('b')
      await stopsAt(b, 'step ok')
      await answer(b, 'mine')
      await world.until(async () => (await b.journal(copyId)).some(({ k }) => k === 'end'))
      expect([await log(b, id), await log(b)]).toEqual([['theirs'], ['mine']])
      expect(actors.tokens).toHaveLength(1)
      expect(actors.oracle.log).toEqual(['a'])
    })

    test('[E10] an external step that a copy begins gives no token to anybody', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      await fork(a)
      await world.run(a.control.send(copyId, 'approve', null, act))
      await stopsAt(a, 'step a')
      await answer(a, 1)
      await stopsAt(a, 'step ok')
      await world.run(a.control.answer(copyId, { error: 'refused' }, act))
      await world.until(() => a.seen('failure').some((event) => event.id === copyId))
      expect(actors.tokens).toEqual([])
      expect(actors.oracle.log).toEqual([])
    })

    test('[E10] compensations stop a copy in their order; each answer is its outcome', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      await fork(a)
      const asked = world.refusal(a.control.call(copyId, 'saga', null, { ...act, timeoutMs: 20_000 }))
      for (const name of ['one', 'two']) {
        await stopsAt(a, `step ${name}`)
        await answer(a, null)
      }
      await stopsAt(a, 'rollback undo two')
      await answer(a, null)
      await stopsAt(a, 'rollback undo one')
      await world.run(a.control.answer(copyId, { error: 'cannot' }, act))
      expect((await asked).code).toBe('CALL_REJECTED')
      const over = (await a.journal(copyId)).find((entry) => entry.k === 'rolled-back')
      expect(over?.failed.map(({ name }) => name)).toEqual(['undo one'])
      expect(await log(a)).toEqual(['one'])
      expect(actors.oracle.log).toEqual([])
    })

    test('[E10] a compensation that waits for an answer is found at the same place by another node', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      await fork(a)
      const { messageId } = await world.run(a.control.send(copyId, 'saga', null, act))
      for (const name of ['one', 'two']) {
        await stopsAt(a, `step ${name}`)
        await answer(a, null)
      }
      await stopsAt(a, 'rollback undo two')
      a.kill()
      const b = await start('b')
      await stopsAt(b, 'rollback undo two')
      // Y5: nothing cancels it.
      await world.run(b.control.cancel(copyId, messageId, act))
      await world.advance(50)
      expect(b.core.kernel.find(copyId)?.wait).toMatchObject({ kind: 'sandbox', target: 'rollback undo two' })
      await answer(b, null)
      await stopsAt(b, 'rollback undo one')
      await answer(b, null)
      await world.until(async () => (await b.journal(copyId)).some(({ k }) => k === 'end'))
      expect((await b.journal(copyId)).find((entry) => entry.k === 'rolled-back')).toMatchObject({ failed: [] })
      expect(actors.oracle.log).toEqual([])
    })

    test('[E10] a copy that is cancelled takes back what it did, by answers', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      await fork(a)
      const { messageId } = await world.run(a.control.send(copyId, 'saga', null, act))
      await stopsAt(a, 'step one')
      await answer(a, null)
      await stopsAt(a, 'step two')
      await world.run(a.control.cancel(copyId, messageId, act))
      for (const name of ['two', 'one']) {
        await stopsAt(a, `rollback undo ${name}`)
        await answer(a, null)
      }
      await world.until(async () => (await a.journal(copyId)).some(({ k }) => k === 'end'))
      const entries = await a.journal(copyId)
      expect(entries.find((entry) => entry.k === 'rolled-back')).toMatchObject({ failed: [] })
      expect(entries.at(-1)).toMatchObject({ k: 'end', how: 'cancelled' })
    })

    test('[E9] its own timers, sleeps, receives and reads of others work', async () => {
      const a = await start()
      await a.call(a.ref(actors.bank, key).pay(7))
      await a.call(a.ref(actors.desk, key).note('one'))
      await fork(a)
      const asked = world.run(a.control.call(copyId, 'alone', key, { ...act, timeoutMs: 20_000 }))
      await world.until(() => a.core.kernel.find(copyId)?.wait?.kind === 'receive')
      await world.run(a.control.send(copyId, 'note', 'given', act))
      await asked
      await world.until(async () => (await log(a)).length === 4)
      expect(await log(a)).toEqual(['one', 7, 'given', 'by timer'])
    })

    test('[E9] ids after the fork are of another branch; those of its results are as they were', async () => {
      const a = await start()
      await a.start(a.ref(actors.desk, key).wander())
      await world.until(() => actors.oracle.count('b') === 1)
      await fork(a)
      await world.until(() => a.core.kernel.find(copyId)?.wait?.kind === 'sandbox')
      const { target } = a.core.kernel.find(copyId)?.wait ?? {}
      expect(actors.seen).toHaveLength(2)
      expect(actors.seen[1]).not.toBe(actors.seen[0])
      expect(target).toBe(`step b ${actors.seen[1]}`)
    })

    test('[E8][E10] a crash and another node: still a sandbox, at the same place', async () => {
      const a = await start()
      await begin(a)
      await fork(a)
      await stopsAt(a, 'step b')
      await answer(a, 'mine')
      await stopsAt(a, `call bank/${key}~1 pay`)
      a.kill()
      const b = await start('b')
      await stopsAt(b, `call bank/${key}~1 pay`)
      await world.run(b.control.kill(copyId, act))
      await stopsAt(b, `call bank/${key}~1 pay`)
      await answer(b, 8)
      await world.until(async () => (await b.journal(copyId)).some(({ k }) => k === 'end'))
      expect(await log(b)).toEqual(['first', 'a', 'for the turn', 'mine', 8])
      expect(await world.run(new RuntimeInspect(b.core).process(copyId))).toMatchObject({ sandbox: id })
      expect(await b.stored(`bank/${key}~1`)).toBeUndefined()
    })

    test('[E8][E9] of a diverged turn: it diverges as the original does, and an operator goes on with it', async () => {
      const a = await start()
      await begin(a)
      a.kill()
      actors.change()
      const b = await start('b')
      const { archive } = b.core.backend.handle
      await world.until(async () => (await archive.process('default', id))?.diverged === true)
      const before = await rows(b)
      await fork(b)
      await world.until(() => b.core.kernel.find(copyId)?.status === 'diverged')
      await world.run(b.control.retryTurn(copyId, { ...act, step: 1 }))
      await stopsAt(b, 'step other')
      expect(await rows(b)).toBe(before)
    })

    test('[E10] a drain does not wait for an answer; the copy stops at the same place on the next node', async () => {
      const a = await start('a', DRAIN_MS)
      await a.call(a.ref(actors.desk, key).note('one'))
      await fork(a)
      await world.run(a.control.send(copyId, 'saga', null, act))
      await stopsAt(a, 'step one')
      const began = world.clock.monotonic()
      await a.stop()
      expect(world.clock.monotonic() - began).toBeLessThan(DRAIN_MS)
      const b = await start('b')
      await stopsAt(b, 'step one')
      expect(actors.oracle.log).toEqual([])
    })

    test('[E11] what cannot be copied is refused, and audited', async () => {
      const a = await start()
      await a.call(a.ref(actors.desk, key).note('one'))
      const no = (more: object, of = id) => refusal(a.control.fork(of, { ...act, ...more }))
      expect(await no({ version: 1, state: 1 })).toBe('REQUEST_INVALID')
      expect(await no({ version: 99 })).toBe('VERSION_NOT_KEPT')
      expect(await no({ state: () => 1 })).toBe('VALUE_UNSUPPORTED')
      expect(await no({ as: id })).toBe('PROCESS_EXISTS')
      expect(await no({ as: 'bank/1' })).toBe('REQUEST_INVALID')
      expect(await no({ incarnation: 2 })).toBe('INCARNATION_GONE')
      expect(await no({}, 'desk/none')).toBe('PROCESS_NOT_FOUND')
      expect(await no({}, 'pool/desk')).toBe('REQUEST_INVALID')
      expect(await refusal(a.control.answer(id, { value: 1 }, act))).toBe('REQUEST_INVALID')
      expect(await refusal(a.control.discard(id, act))).toBe('REQUEST_INVALID')
      const [audit] = await a.core.backend.handle.archive.audit('default', { target: id, limit: 1 })
      expect(audit).toMatchObject({ verb: 'discard', outcome: 'refused: REQUEST_INVALID' })
      await a.start(a.ref(actors.desk, key).back())
      await world.until(() => actors.oracle.count('undo') === 1)
      expect(await no({})).toBe('REQUEST_INVALID')
    })

    test('[E12] a discard leaves no row, and the id is free', async () => {
      const a = await start()
      await begin(a)
      await fork(a)
      await stopsAt(a, 'step b')
      const copy = await a.core.backend.handle.archive.process('default', copyId)
      expect((await kind.left(world, copyId, copy?.pid ?? 0)).length).toBeGreaterThan(2)
      await world.run(a.control.send(copyId, 'note', 'waits', act))
      await world.run(a.control.kill(copyId, act))
      await stopsAt(a, 'step b')
      const before = await rows(a)
      expect(await world.run(a.control.discard(copyId, act))).toMatchObject({ outcome: 'discarded' })
      await world.advance(50)
      expect(await kind.left(world, copyId, copy?.pid ?? 0)).toEqual([])
      expect(a.core.kernel.find(copyId) === undefined).toBe(true)
      expect(await rows(a)).toBe(before)
      // Word of a message that went with it comes late, here and to recovery.
      a.core.layer.poke(copyId)
      await world.advance(50)
      await world.until(() => a.core.kernel.find(copyId)?.alive !== true, 'the end of the late start')
      expect(await kind.left(world, copyId, copy?.pid ?? 0)).toEqual([])
      expect(await refusal(a.control.discard(copyId, act))).toBe('PROCESS_NOT_FOUND')
      expect((await fork(a)).id).toBe(copyId)
      await stopsAt(a, 'step b')
    })

    test('[E12] until it is gone, whoever looks is told of a copy', async () => {
      const a = await start()
      await begin(a)
      await fork(a)
      await stopsAt(a, 'step b')
      const inspect = new RuntimeInspect(a.core)
      const seen: unknown[] = []
      let gone = false
      const discarded = world.run(a.control.discard(copyId, act)).finally(() => {
        gone = true
      })
      while (!gone) {
        const detail = await inspect.process(copyId)
        if (detail !== null) seen.push(detail.sandbox ?? detail)
        inspect.scan((row) => row.id === copyId && seen.push(row.sandbox ?? row))
        await new Promise(setImmediate)
      }
      await discarded
      expect([...new Set(seen)]).toEqual([id])
      expect(await inspect.process(copyId)).toBeNull()
    })

    test('[E8] a file of a copy is one of a copy, and its turn stops at the same place', async () => {
      const a = await start()
      await begin(a)
      await fork(a)
      await stopsAt(a, 'step b')
      const file = await world.run(new RuntimeInspect(a.core).exportProcess(copyId))
      expect(file.body.process.sandbox).toBe(id)
      const as = `desk/${key}-again`
      await world.run(a.control.importProcess(JSON.parse(JSON.stringify(file)), { ...act, as }))
      await world.until(() => a.core.kernel.find(as)?.wait?.kind === 'sandbox')
      expect(actors.oracle.log).toEqual(['a', 'b'])
    })
  })
}
