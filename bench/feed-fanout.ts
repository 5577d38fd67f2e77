/**
 * Bench `feed-fanout`: what live lists of 10,000 processes cost the server, and what a viewer gets.
 *
 * Measures: 500 messages a second to 200 of the agents in turn, watched over real sockets by viewers with a window of
 * 60 rows, those with most turns first, so that every row of the window changes all the time: processor time of the
 * feed's own work as percent of one core (its own meter), bytes a second per viewer, and milliseconds from a reply to
 * the row that shows it. First one viewer, then five.
 * Leaves out: the viewers' own work (they parse and acknowledge in this process, unmetered), the network, and writing
 * to the sockets, which the system does.
 * Checked: no row was sent twice without a change; no subscription had more than two unacknowledged frames.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket } from 'ws'
import { agent, pool, type Runtime } from '../server/index.ts'
import { type ServerFrame, serverFrameSchema } from '../shared/frame.ts'
import { openStage, percentile, round } from './stage.ts'

const AGENTS = 10_000
const MESSAGES_PER_SECOND = 500
/** Agents that get the messages in turn: more than the window holds, so that all of it changes and its order too. */
const HOT = 200
const VIEWERS = 5
const WARM_MS = 4_000
const ROUND_MS = 12_000
/** Milliseconds between two bursts of messages. */
const BURST_MS = 20

const idler = agent('idler', {
  durability: 'ephemeral',
  state: () => ({ n: 0 }),
  on: { touch: (ctx) => ++ctx.state.n },
})

export async function run() {
  const stage = await openStage({ root: pool(idler) })
  try {
    const { runtime } = stage
    await Promise.all(Array.from({ length: AGENTS }, (_, i) => runtime.ref(idler, `k${i}`).touch()))
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    runtime.attach(server)
    const { port } = server.address() as AddressInfo // a TCP server that listens
    const one = await measure(runtime, port, 1)
    const five = await measure(runtime, port, VIEWERS)
    server.close()
    return {
      metrics: {
        feedCpuPercent: one.cpuPercent,
        feedCpuPercentFive: five.cpuPercent,
        bytesPerSecond: one.bytesPerSecond,
        bytesPerSecondFive: five.bytesPerSecond,
        shownP50Ms: one.shownP50Ms,
      },
    }
  } finally {
    await stage.end()
  }
}

async function measure(runtime: Runtime, port: number, count: number) {
  const viewers = await Promise.all(Array.from({ length: count }, () => Viewer.open(port)))
  const load = new Load(runtime)
  const working = load.run(WARM_MS + ROUND_MS)
  await pause(WARM_MS)
  const before = viewers.map((viewer) => viewer.bytes)
  const shares: number[] = []
  for (let ms = 0; ms < ROUND_MS; ms += 1_000) {
    await pause(1_000)
    shares.push(runtime.inspect.vitals().feed.cpuPercent)
  }
  const bytes = viewers.reduce((sum, viewer, at) => sum + viewer.bytes - (before[at] ?? 0), 0)
  await working
  const delays = viewers.flatMap((viewer) => viewer.delays(load.repliedAt))
  for (const viewer of viewers) viewer.close()
  return {
    cpuPercent: round(shares.reduce((sum, share) => sum + share, 0) / shares.length, 2),
    bytesPerSecond: round(bytes / count / (ROUND_MS / 1_000)),
    shownP50Ms: round(percentile(delays, 0.5)),
  }
}

/** Messages to one agent after the other; when each got its newest reply, by its number of turns. */
class Load {
  readonly repliedAt = new Map<string, number>()
  readonly #runtime: Runtime
  #next = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  async run(ms: number): Promise<void> {
    const until = performance.now() + ms
    let sent = 0
    const began = performance.now()
    while (performance.now() < until) {
      const due = ((performance.now() - began) / 1_000) * MESSAGES_PER_SECOND
      for (; sent < due; sent++) void this.#touch(this.#next++ % HOT)
      await pause(BURST_MS)
    }
  }

  async #touch(index: number): Promise<void> {
    const turns = await this.#runtime.ref(idler, `k${index}`).touch()
    this.repliedAt.set(`idler/k${index} ${turns}`, performance.now())
  }
}

class Viewer {
  bytes = 0
  readonly #socket: WebSocket
  readonly #rows = new Map<string, string>()
  readonly #shownAt = new Map<string, number>()
  #unacked = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      this.bytes += data.length
      this.#received(serverFrameSchema.parse(JSON.parse(data.toString())))
    })
  }

  static async open(port: number): Promise<Viewer> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/v1/feed`, 'vivarium.v1')
    const viewer = new Viewer(socket)
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    viewer.#say({
      t: 'sub',
      id: 'p',
      topic: 'processes',
      view: { mode: 'flat', sort: 'turns', dir: 'desc', window: [0, 60] },
    })
    viewer.#say({ t: 'sub', id: 'v', topic: 'vitals' })
    return viewer
  }

  /** Milliseconds from the reply of a turn to the row that showed it. */
  delays(repliedAt: ReadonlyMap<string, number>): number[] {
    return [...this.#shownAt].flatMap(([turn, at]) => {
      const replied = repliedAt.get(turn)
      return replied === undefined || at < replied ? [] : [at - replied]
    })
  }

  close(): void {
    this.#socket.terminate()
  }

  #received(frame: ServerFrame): void {
    if (!('seq' in frame)) return
    if (frame.id === 'p' && ++this.#unacked > 2) throw new Error('More than two frames were unacknowledged.')
    const rows = frame.t === 'snap' ? frame.rows : frame.t === 'delta' ? frame.up : []
    if (frame.t === 'delta') for (const gone of frame.del) this.#rows.delete(gone)
    for (const row of rows) this.#shown(row)
    setImmediate(() => {
      if (frame.id === 'p') this.#unacked--
      this.#say({ t: 'ack', id: frame.id, seq: frame.seq })
    })
  }

  #shown(row: { id: string; turns?: unknown; at?: unknown }): void {
    const text = JSON.stringify(row)
    if (this.#rows.get(row.id) === text) throw new Error(`The row ${row.id} was sent again without a change.`)
    this.#rows.set(row.id, text)
    if (row.turns !== undefined && row.at === undefined) this.#shownAt.set(`${row.id} ${row.turns}`, performance.now())
  }

  #say(frame: unknown): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame))
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
