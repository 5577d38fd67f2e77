/**
 * Operators at random beside random faults: while messages are handled, nodes die, answers get lost and statements
 * fail, states are edited, turns run again and messages are skipped. Then all of it stops and the system must settle:
 * each message ended once, done or skipped; no answered edit is lost and none takes a turn's work back.
 */
import { expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import type { Fault, Statement } from '../support/faulty-store.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { Generator } from '../support/value-generator.ts'

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 6)
const FIRST = Number(process.env['SIM_FIRST'] ?? 1)
const KEYS = 3
const MESSAGES = 24
/** Ms of virtual time for one verb: what is stuck is a bug, not patience. */
const VERB_MS = 60_000

type State = { done: string[]; edits: string[]; way: string[] }
type Ran = Map<string, Set<string>>

const tally = agent('tally', {
  state: () => ({ n: 0 }),
  on: { add: (ctx) => ++ctx.state.n },
  passivateAfterMs: 2_000,
})

function workerOf(ran: Ran) {
  return agent('worker', {
    state: (): State => ({ done: [], edits: [], way: [] }),
    on: {
      async work(ctx, name: string) {
        for (let i = 0; i < 3; i++) {
          await ctx.step(`${ctx.uuid().slice(0, 4)} ${i}`, ({ idempotencyKey }) => {
            const keys = ran.get(`${name} ${i}`) ?? new Set()
            ran.set(`${name} ${i}`, keys.add(idempotencyKey))
          })
          if (i === 0) await ctx.sleep(20)
          if (i === 0 && name.endsWith('3')) await ctx.sleep(8_000) // it leaves memory meanwhile
          if (i === 1) await ctx.call(ctx.ref(tally, 't').add(), { timeoutMs: 3_000_000 })
          if (name.endsWith('5') && i === 1) await ctx.checkpoint()
        }
        ctx.state.done.push(name)
      },
    },
    passivateAfterMs: 2_000,
    maxAttempts: 1_000,
  })
}

function faultOf(generator: Generator, { method }: Statement): Fault | undefined {
  if (generator.next() > 0.08) return undefined
  const kind = generator.below(10)
  if (kind < 4) return { kind: 'fail', failure: 'unavailable' }
  if (kind < 7) return { kind: 'lost' }
  if (kind === 7 && method === 'commit') return { kind: 'fail', failure: 'contended' }
  return kind === 8 ? { kind: 'die', when: generator.pick(['before', 'after']) } : undefined
}

class Drill {
  readonly generator: Generator
  readonly world = World.memory()
  readonly ran: Ran = new Map()
  readonly worker = workerOf(this.ran)
  readonly nodes: TestNode[] = []
  readonly answered: { verb: string; edit: string }[] = []
  readonly refused: string[] = []
  faulty = true
  #edits = 0

  constructor(seed: number) {
    this.generator = new Generator(seed)
  }

  alive(): TestNode[] {
    return this.nodes.filter((node) => !node.dead)
  }

  async two(): Promise<void> {
    while (this.alive().length < 2) {
      const node = await this.world.node(`n${this.nodes.length}`, [this.worker, tally])
      node.faults.plan((statement) => (this.faulty ? faultOf(this.generator, statement) : undefined))
      this.nodes.push(node)
    }
  }

  /** Stored at whatever node takes it; a message whose answer was lost is looked for by its name. */
  async send(name: string, key: string): Promise<void> {
    for (;;) {
      await this.two()
      const node = this.alive()[this.generator.below(2)] as TestNode // two() leaves two
      const begun = node.core.messenger.begin(node.ref(this.worker, key).work(name), { idempotencyKey: name })
      let known = false
      begun.then(
        () => (known = true),
        () => {},
      )
      for (let i = 0; i < 50 && !known && !node.dead; i++) await this.world.advance(5)
      if (known) return
    }
  }

  /** One verb of somebody; what it answers counts. */
  async verb(): Promise<void> {
    const { generator } = this
    const id = `worker/k${generator.below(KEYS)}`
    const owner = this.alive().find(({ core }) => core.kernel.find(id)?.slot != null)
    const node = (generator.next() < 0.8 ? owner : undefined) ?? this.alive()[generator.below(this.alive().length)]
    if (node === undefined) return
    const act = { actor: 'operator:sim', reason: 'drill' }
    const kind = generator.below(10)
    const edit = `e${++this.#edits}`
    const note = (verb: string, done: Promise<unknown>): void => {
      done.then(
        () => void this.answered.push({ verb, edit }),
        (error: { code?: string; message: string }) => void this.refused.push(error.code ?? error.message),
      )
    }
    if (kind < 4) note('retry', node.control.retryTurn(id, { ...act, ...(kind < 2 ? {} : { step: 1 + kind }) }))
    else if (kind === 4) note('skip', node.control.skipMessage(id, act))
    else if (kind === 5) {
      // One with nothing in hand counts for its pool, which would halt it.
      if (node.core.kernel.find(id)?.current != null) note('kill', node.control.kill(id, act))
    } else note('edit', this.#edit(node, id, edit))
    for (let i = 0; i < 4; i++) await this.world.advance(generator.below(20))
    if (generator.next() < 0.05) await this.world.advance(3_000)
  }

  async #edit(node: TestNode, id: string, edit: string): Promise<unknown> {
    const inspect = new RuntimeInspect(node.core)
    try {
      const { version, value } = await inspect.state(id)
      const state = value as State
      const next = { ...state, edits: [...state.edits, edit] }
      return await node.control.editState(id, next, { actor: 'operator:sim', expectedVersion: version })
    } finally {
      inspect.close()
    }
  }

  async settle(names: readonly string[]): Promise<void> {
    this.faulty = false
    await this.two()
    const { world } = this
    const node = this.alive()[0] as TestNode // two() leaves two
    for (const name of names) {
      const handle = await node.start(node.ref(this.worker, keyOf(name)).work(name), { idempotencyKey: name })
      await world.run(handle.result().catch(() => {})) // skipped ones fail; whether they are dead letters is looked at
    }
    await world.until(() => world.db?.mailbox.size === 0, 'the end of the mail')
    await world.advance(VERB_MS)
  }
}

const keyOf = (name: string): string => `k${Number(name.slice(1)) % KEYS}`

for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
  test(`[E1] seed ${seed}: verbs and faults stop, each message ended once, no answered edit is lost`, {
    timeout: 20_000,
  }, async () => {
    const drill = new Drill(seed)
    const { world, generator } = drill
    const names = Array.from({ length: MESSAGES }, (_, i) => `m${i}`)
    try {
      for (const name of names) {
        await drill.send(name, keyOf(name))
        for (let i = generator.below(6); i > 0; i--) await drill.verb()
        if (generator.next() < 0.06) drill.alive()[0]?.kill()
        await drill.two()
      }
      await drill.settle(names)
      await check(drill, names)
    } finally {
      await world.close()
    }
  })
}

async function check({ alive, nodes, answered, refused, ran, world }: Drill, names: readonly string[]): Promise<void> {
  const [node] = alive.call({ nodes }) as [TestNode]
  const { archive } = node.core.backend.handle
  const letters = await archive.deadLetters('default', { limit: 1_000 })
  const given = letters.map(({ args }) => String(args))
  // A turn that waits for long sees many nodes die.
  for (const { reason } of letters) expect(reason).toMatch(/^(skipped by operator:sim: drill|SuspectedPoison)/)
  const skipped = letters.filter(({ reason }) => reason.startsWith('skipped'))
  const done: string[] = []
  const edits: string[] = []
  const retries = new Map<string, number>()
  for (let i = 0; i < KEYS; i++) {
    const state = (await node.stored(`worker/k${i}`)) as State
    done.push(...state.done)
    edits.push(...state.edits)
    const turns = new Map<string, string>()
    for (const entry of await entries(node, `worker/k${i}`)) {
      if (entry.k === 'accepted') turns.set(entry.turn, String(entry.message.args))
      if (entry.k === 'retried') {
        const name = turns.get(entry.turn) ?? ''
        retries.set(name, (retries.get(name) ?? 0) + 1)
      }
    }
  }
  expect([...done, ...given].toSorted()).toEqual(names.toSorted())
  for (const { verb, edit } of answered) if (verb === 'edit') expect(edits).toContain(edit)
  expect(new Set(edits).size).toBe(edits.length)
  expect(answered.filter(({ verb }) => verb === 'skip').length).toBeLessThanOrEqual(skipped.length)
  // A step has one key, and one more for each time an operator let its turn run again.
  for (const [step, keys] of ran) {
    const again = retries.get(step.split(' ')[0] ?? '') ?? 0
    expect(keys.size, `keys of ${step}`).toBeLessThanOrEqual(1 + again)
  }
  const parked = nodes.flatMap((each) => each.seen('process:diverge').map(({ found }) => found))
  expect(parked).toEqual([])
  expect(refused.filter((code) => code === 'INTERNAL' || code.includes(' '))).toEqual([])
  expect(world.db?.mailbox.size).toBe(0)
}

async function entries(node: TestNode, id: string) {
  const { archive } = node.core.backend.handle
  const record = await archive.process('default', id)
  const { decodeEntries } = await import('../../server/journal/entry.ts')
  return (await archive.journal(record?.pid ?? 0, { limit: 1_000 }))
    .toReversed()
    .flatMap((row) => decodeEntries(row.payload))
}
