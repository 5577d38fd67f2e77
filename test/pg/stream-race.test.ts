/** Streams where two statements must overlap, and agents' streams over two nodes on a real server. */
import { expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { heldRow } from '../support/held-row.ts'
import { World } from '../support/runtime.ts'
import { StoreBench } from '../support/store-world.ts'

const held = heldRow()

test('[D42] an append that began before an heir opened the stream writes nothing after it', async () => {
  const bench = new StoreBench({ name: 'Postgres', handle: () => held.handle })
  const node = await bench.node()
  const { record, claim } = await bench.own(node, 'a')
  const path = 'processes/cart/a/s'
  const opened = await bench.store.openStream(node, {
    process: record.pid,
    claim,
    path,
    contentType: 'application/json',
    turn: null,
  })
  if (opened.kind !== 'open') return expect.fail(`The stream is ${opened.kind}.`)
  const data = new TextEncoder().encode('1')
  const late = { data, reset: false, turn: 't', step: null, attempt: 1 }
  // What an heir's opening does to the row, held until the append waits behind it.
  const opening = `update vivarium.streams set claim = ${claim + 1} where id = ${opened.row.id}`
  const outcomes = await held.whileHeld(opening, () =>
    bench.store.appendStreams(node, [{ stream: opened.row.id, claim, expected: 0, records: [late], close: false }]),
  )
  expect(outcomes).toEqual([{ kind: 'refused', row: { claim: claim + 1, tail: 0, closed: false } }])
  expect(await bench.store.streamRecords(opened.row.id, 0)).toEqual([])
})

test('[R4] an agent that streams goes on on another node after a kill, and its reader misses nothing', async () => {
  let runs = 0
  const teller = agent('teller', {
    state: () => ({ done: false }),
    on: {
      async tell(ctx) {
        const out = ctx.stream('answer')
        await out.write('one')
        await ctx.step('model', async (info) => {
          const text = info.stream('answer')
          runs += 1
          await text.write(`run ${runs}`)
          await text.flush()
          if (runs === 1) await new Promise(() => {})
        })
        await out.write('end')
        await out.close()
        ctx.state.done = true
      },
    },
  })
  const world = World.postgres(held.connection)
  const first = await world.node('a', [teller])
  const second = await world.node('b', [teller])
  const shown: string[] = []
  const read = (async () => {
    for await (const item of second.core.streams.read('teller/t', 'answer')) {
      shown.push(item.kind === 'chunk' ? String(item.value) : `reset ${item.to}`)
    }
  })()
  await first.send(first.ref(teller, 't').tell())
  await world.until(() => shown.length === 2, 'two chunks at the other node')
  first.kill()
  const { id, epoch } = first.core.node
  await second.core.backend.handle.store.buryNode(second.core.node, { id, epoch }, 'host')
  await world.run(read)
  expect(shown).toEqual(['one', 'run 1', 'reset 1', 'run 2', 'end'])
  await world.close()
})
