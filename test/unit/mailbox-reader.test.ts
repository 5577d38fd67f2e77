/** Readings of a mailbox that overlap: order holds whatever the store answers when. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { recordOf } from '../../server/journal/durable.ts'
import { MailboxReader } from '../../server/journal/mailbox-reader.ts'
import type { MessageRow, Store } from '../../server/store/store.ts'
import { World } from '../support/runtime.ts'

let world: World

beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

const plain = agent('plain', { state: () => ({ n: 0 }), on: { add: (ctx) => ++ctx.state.n } })

function rowOf(ord: number): MessageRow {
  return {
    ...{
      id: `m${ord}`,
      target: 'plain/k',
      kind: 'send',
      op: 'add',
      sender: 'plain/s',
      n: ord,
      args: 'null',
      ord,
      at: 0,
    },
    ...{
      replyTo: null,
      cause: null,
      root: null,
      chain: [],
      traceparent: null,
      actor: null,
      deadline: null,
      timer: null,
    },
    ...{ attempts: 0, recoveries: 0 },
  }
}

async function readings() {
  const node = await world.node('n', [plain])
  await node.call(node.ref(plain, 'k').add())
  const process = node.core.kernel.find('plain/k')
  const record = process === undefined ? null : recordOf(process)
  if (process === undefined || record === null) throw new Error('It has just answered.')
  const asked: PromiseWithResolvers<MessageRow[]>[] = []
  const messages: Store['messages'] = () => {
    const answer = Promise.withResolvers<MessageRow[]>()
    asked.push(answer)
    return answer.promise
  }
  const found: number[] = []
  const reader = new MailboxReader({
    namespace: 'default',
    store: { ...node.core.backend.handle.store, messages },
    clock: world.clock,
    stopped: () => false,
    found: ({ ord }) => void found.push(ord),
    moved: () => expect.fail('The process stays.'),
    failed: (what) => expect.fail(what),
  })
  const answer = async (rows: MessageRow[]): Promise<void> => {
    asked.shift()?.resolve(rows)
    await world.advance(1)
  }
  return { reader, process, record, found, asked, answer }
}

test('[M5] a row that a running reading is too old for comes before those that came after it', async () => {
  const { reader, process, record, found, asked, answer } = await readings()
  reader.read(process, record)
  // The first row of a commit is looked for, the others of it are told.
  reader.read(process, record)
  expect([reader.keeps(rowOf(102)), reader.keeps(rowOf(103))]).toEqual([true, true])
  await answer([rowOf(100)])
  expect(found).toEqual([100])
  await answer([rowOf(100), rowOf(101), rowOf(102), rowOf(103)])
  expect(found).toEqual([100, 101, 102, 103])
  expect([asked.length, reader.keeps(rowOf(104))]).toEqual([0, false])
})

test('[M5] told rows that the store did not answer with are handed over once, at the last reading', async () => {
  const { reader, process, record, found, answer } = await readings()
  reader.read(process, record)
  reader.keeps(rowOf(101))
  reader.read(process, record)
  await answer([rowOf(101)])
  reader.keeps(rowOf(102))
  // The first one was handled meanwhile.
  await answer([])
  expect(found).toEqual([101, 102])
})
