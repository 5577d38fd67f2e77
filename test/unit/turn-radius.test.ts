/** What cancel, fork, answer and discard would do, told before; and what an operator can give, also of parked turns. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import { ActionDesk } from '../../server/feed/action.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { clientFrameSchema } from '../../shared/frame.ts'
import type { Answerable } from '../../shared/snapshot.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

let world: World
let node: TestNode
let inspect: RuntimeInspect
let opened: ReturnType<typeof gate>

const helper = agent('helper', { state: () => null, on: { help: () => opened.promise } })

const trip = agent('trip', {
  state: () => ({ booked: '', heard: '' }),
  on: {
    async approve(ctx) {
      const by = ctx.step('approve', () => {}, { external: true })
      ctx.state.booked = String(await by)
    },
    async two(ctx) {
      const first = ctx.step('first', () => {}, { external: true })
      const second = ctx.step('second', () => {}, { external: true })
      ctx.state.booked = (await Promise.all([first, second])).join()
    },
    async book(ctx) {
      ctx.onRollback('give the seat back', () => {})
      ctx.onRollback('give the room back', () => {})
      await ctx.start(helper, 'stopped', 'help', null, { parentClose: 'stop' })
      await ctx.start(helper, 'waited', 'help', null, { parentClose: 'wait' })
      await ctx.start(helper, 'alone', 'help')
      await ctx.sleep(3_600_000)
    },
    async careful(ctx) {
      await ctx.shield(() => ctx.sleep(3_600_000))
    },
    async insist(ctx) {
      await ctx.step('dial', () => Promise.reject(new Error('busy')), { retry: { max: 3, initialMs: 60_000 } })
    },
    nothing: () => {},
  },
})

const act = { actor: 'operator:ana', reason: 'to look' }
const id = 'trip/1'

beforeEach(async () => {
  world = World.memory()
  opened = gate()
  node = await world.node('a', [trip, helper])
  inspect = new RuntimeInspect(node.core)
})
afterEach(async () => {
  opened.open()
  inspect.close()
  await world.close()
})

const waits = (kind: string, of = id): Promise<void> =>
  world.until(() => node.core.kernel.find(of)?.wait?.kind === kind)
const plan = (verb: 'cancel' | 'fork' | 'answer' | 'discard', of = id) => world.run(inspect.plan(verb, of))
const refusal = async (work: Promise<unknown>) => {
  const error = await world.refusal(work)
  return Reflect.get(Object(error), 'code')
}
const given = async (): Promise<Answerable[] | undefined> => (await world.run(inspect.process(id)))?.answerable
const parked = async (): Promise<void> => {
  await world.jump(120_000)
  await world.until(() => node.core.kernel.find(id) === undefined)
}

test('[E14] a cancel tells what it reaches, children and compensations, and asking changes nothing', async () => {
  await node.send(node.ref(trip, '1').book())
  await waits('sleep')
  const journal = (await node.journal(id)).length
  const told = await plan('cancel')
  expect(told.affected).toEqual([
    { id: 'helper/stopped', effect: 'cancels', why: 'started by it with parentClose: stop' },
    { id: 'helper/waited', effect: 'waits', why: 'started by it with parentClose: wait; it goes on' },
  ])
  expect(told.message).toBe(
    '"book" hears CANCELLED now, at what it waits for. ' +
      'Unless its code goes on, it rolls back: give the room back, give the seat back.',
  )
  expect((await node.journal(id)).length).toBe(journal)
  await world.run(node.control.cancel(id, null, act))
  opened.open()
  await world.until(() => node.core.kernel.find(id)?.current === null)
  expect((await plan('cancel')).message).toBe('No operation is in hand; there is nothing to cancel.')
  expect(await refusal(node.control.cancel(id, null, act))).toBe('TURN_NOT_OPEN')
})

test('[E14] a shielded section is said, and a cancellation that was asked for', async () => {
  await node.send(node.ref(trip, '1').careful())
  await waits('sleep')
  expect((await plan('cancel')).message).toBe(
    '"careful" is in a shielded section: it hears CANCELLED once that is over.',
  )
  await world.run(node.control.cancel(id, null, act))
  await world.until(async () => (await plan('cancel')).message.includes('was cancelled before, by operator:ana'))
})

test('[E14] fork, answer and discard say what they are for, or are refused as the verb would be', async () => {
  await node.call(node.ref(trip, '1').nothing())
  expect((await plan('fork')).message).toBe('The copy has the newest state, and nothing in hand.')
  expect(await refusal(inspect.plan('answer', id))).toBe('REQUEST_INVALID')
  expect(await refusal(inspect.plan('discard', id))).toBe('REQUEST_INVALID')
  expect(await refusal(inspect.plan('fork', 'trip/none'))).toBe('PROCESS_NOT_FOUND')
  expect(await refusal(inspect.plan('fork', 'pool/trip'))).toBe('REQUEST_INVALID')
  await world.run(node.control.fork(id, act))
  await node.send(node.ref(trip, '1~1').two())
  await waits('sandbox', 'trip/1~1')
  expect((await plan('answer', 'trip/1~1')).message).toBe(
    '"two" goes on with the answer; one answer counts. step second waits as well.',
  )
  expect((await plan('fork', 'trip/1~1')).message).toContain('The copy takes "two" along, with no results yet.')
  expect((await plan('discard', 'trip/1~1')).queue).toContain('Only its audit stays.')
})

test('[E13] an answer gives an external step its outcome without a token, the oldest or the named one', async () => {
  const done = node.start(node.ref(trip, '1').two())
  await waits('step')
  await world.run(node.control.answer(id, { value: 'b' }, { ...act, step: 'second#0' }))
  const twice = node.control.answer(id, { value: 'c' }, { ...act, step: 'second#0' })
  expect(['NOT_FOUND', 'ALREADY_COMPLETED']).toContain(await refusal(twice))
  expect(await refusal(node.control.answer(id, { value: 'c' }, { ...act, step: 'third#0' }))).toBe('NOT_FOUND')
  expect(await refusal(node.control.answer(id, { value: 'c' }, { ...act, incarnation: 7 }))).toBe('INCARNATION_GONE')
  await world.run(node.control.answer(id, { value: 'a' }, act))
  await world.run((await done).result())
  expect(await node.stored(id)).toMatchObject({ booked: 'a,b' })
  expect(await refusal(node.control.answer(id, { value: 1 }, act))).toBe('REQUEST_INVALID')
  const audit = await node.core.backend.handle.archive.audit('default', { target: id, limit: 9 })
  expect(audit.at(-1)).toMatchObject({ verb: 'answer', actor: 'operator:ana', outcome: 'answered second#0' })
  expect(JSON.stringify(audit)).not.toContain('st_')
})

test('[E13] an error fails the step; an attempt that comes after it waits for another answer', async () => {
  const done = await node.start(node.ref(trip, '1').approve())
  await waits('step')
  await world.run(node.control.answer(id, { error: 'no budget' }, act))
  // Between the attempts nothing can be answered: the token of the first one is used up.
  await world.until(() => node.core.kernel.find(id)?.wait?.kind !== 'step')
  expect(await given()).toBeUndefined()
  await world.until(async () => (await world.run(inspect.process(id)))?.current?.attempt === 2)
  await waits('step')
  await world.run(node.control.answer(id, { value: 'ana' }, act))
  await world.run(done.result())
  expect(JSON.stringify(await node.journal(id))).toContain('no budget')
  expect(await node.stored(id)).toMatchObject({ booked: 'ana' })
})

test('[O18] what can be given, and the message in hand, are told of a parked turn too, without waking it', async () => {
  await node.send(node.ref(trip, '1').approve())
  await waits('step')
  const live = await given()
  expect(live).toMatchObject([{ key: 'approve#0', kind: 'step', what: 'step approve', args: null }])
  await parked()
  const detail = await world.run(inspect.process(id))
  expect(detail).toMatchObject({ status: 'passive', current: { op: 'approve', attempt: 1 }, answerable: live })
  expect((await plan('answer')).message).toBe('"approve" goes on with the answer; one answer counts.')
  expect(await plan('cancel')).toMatchObject({
    message: '"approve" hears CANCELLED now, at what it waits for.',
    queue: 'No message waits.',
  })
  expect(node.core.kernel.find(id)).toBeUndefined()
  await world.run(node.control.answer(id, { value: 'ana' }, act))
  await world.until(async () => Reflect.get(Object(await node.stored(id)), 'booked') === 'ana')
  expect(await given()).toBeUndefined()
})

test('[O18] a parked turn that is looked at is read once per row of its journal', async () => {
  const read = vi.spyOn(node.core.backend.handle.archive, 'stateRows')
  await node.send(node.ref(trip, '1').approve())
  await waits('step')
  await parked()
  read.mockClear()
  for (let looks = 0; looks < 3; looks++) await given()
  expect(read).toHaveBeenCalledTimes(1)
  await world.run(node.control.answer(id, { error: 'no budget' }, act))
  await world.until(async () => (await world.run(inspect.process(id)))?.current?.attempt === 2)
  await waits('step')
  await parked()
  expect(await world.run(inspect.process(id))).toMatchObject({ current: { attempt: 2 } })
})

test('[O18] a step that is tried again tells which attempt of how many comes, and when', async () => {
  await node.send(node.ref(trip, '1').insist())
  await waits('retry')
  const wait = (await world.run(inspect.process(id)))?.wait
  expect(wait).toMatchObject({ kind: 'retry', target: 'dial', attempt: 2, attempts: 3 })
  expect(wait?.deadline).toBeGreaterThan(world.clock.now())
})

test('[F23] the verbs by the feed, and what they need', async () => {
  const desk = new ActionDesk(node.control, realClock())
  let n = 0
  const say = (verb: string, more: object, target = id) => {
    const frame = clientFrameSchema.parse({ t: 'act', rid: 'r', verb, target, key: `k${++n}`, reason: 'so', ...more })
    if (frame.t !== 'act') throw new Error('no act')
    return world.run(desk.act(frame, { actor: 'operator:ana', roles: ['operator'] }))
  }
  await node.send(node.ref(trip, '1').approve())
  await waits('step')
  expect(await say('fork', {})).toMatchObject({ id: 'trip/1~1' })
  expect(await say('fork', { version: 1, as: 'trip/then' })).toMatchObject({ id: 'trip/then' })
  expect(await say('fork', { args: { booked: { $date: 1 }, heard: '' } })).toMatchObject({ id: 'trip/1~2' })
  expect(await node.stored('trip/1~2')).toMatchObject({ booked: new Date(1) })
  await expect(say('fork', { as: 'trip/then' })).rejects.toMatchObject({ code: 'PROCESS_EXISTS' })
  await waits('sandbox', 'trip/1~1')
  await expect(say('answer', {}, 'trip/1~1')).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await expect(say('answer', { args: 1, error: 1 }, 'trip/1~1')).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await expect(say('answer', { args: 1, request: 'x#0' }, 'trip/1~1')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect(await say('answer', { args: 'yes', request: 'approve#0' }, 'trip/1~1')).toMatchObject({
    outcome: 'answered approve#0',
  })
  await world.until(async () => Reflect.get(Object(await node.stored('trip/1~1')), 'booked') === 'yes')
  expect(await say('discard', {}, 'trip/1~1')).toMatchObject({ outcome: 'discarded' })
  await expect(say('discard', {})).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await parked()
  expect(await say('cancel', {})).toMatchObject({ outcome: 'cancellation requested' })
  await world.until(
    async () => (await plan('cancel')).message === 'No operation is in hand; there is nothing to cancel.',
  )
  await expect(say('cancel', {})).rejects.toMatchObject({ code: 'TURN_NOT_OPEN' })
  const archive = node.core.backend.handle.archive
  const [audit] = await archive.audit('default', { target: id, limit: 1 })
  expect(audit).toMatchObject({
    verb: 'cancel',
    actor: 'operator:ana',
    reason: 'so',
    outcome: 'refused: TURN_NOT_OPEN',
  })
})
