/**
 * Bench `observe-tax`: what observing costs, as CPU per million turns of 1,000 durable agents.
 *
 * Measures: the same load in rounds A B B A and B A A B by turns: A with an observer attached that nobody reads (feed
 * attached, HTTP app made) or without any; then with a viewer on the live list of all processes. Percent more CPU of
 * this OS process: the median over the quadruples, and the standard error of their mean, without which a percent says
 * nothing.
 * The control compares nothing with nothing: it is what the method itself is off by on this machine.
 * Leaves out: the viewer's own CPU (it only acknowledges frames), the network.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket } from 'ws'
import { agent, pool } from '../server/index.ts'
import { forMs, median, openStage, round } from './stage.ts'

const AGENTS = 1_000
/** Idle processes beside them, so that the viewer's list is long. */
const IDLE = 9_000
/** Quadruples of each comparison: 24 rounds on each side. */
const QUADS = 12
const ROUND_MS = 1_000

const worker = agent('worker', {
  state: () => ({ n: 0 }),
  on: {
    add(ctx, by: number) {
      ctx.state.n += by
      return ctx.state.n
    },
  },
})
const idler = agent('idler', { durability: 'ephemeral', state: () => ({ n: 0 }), on: { nothing: () => 1 } })

export async function run() {
  const stage = await openStage({ root: pool(worker), agents: [idler] })
  try {
    const { runtime } = stage
    const refs = Array.from({ length: AGENTS }, (_, i) => runtime.ref(worker, `k${i}`))
    await Promise.all(refs.map((ref) => ref.add(1)))
    await Promise.all(Array.from({ length: IDLE }, (_, i) => runtime.ref(idler, `k${i}`).nothing()))
    const cpuPerMillion = async (): Promise<number> => {
      const before = process.cpuUsage()
      const { count } = await forMs(ROUND_MS, AGENTS, async (lane) => refs[lane]?.add(1))
      const { user, system } = process.cpuUsage(before)
      return (user + system) / count
    }
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    // Made once: building the app is a cost of the start, not of being there.
    runtime.observer()
    for (let i = 0; i < 3; i++) await cpuPerMillion()
    const control = await compare(cpuPerMillion, async () => async () => {})
    const unwatched = await compare(cpuPerMillion, async () => {
      const detach = runtime.attach(server)
      return async () => detach()
    })
    runtime.attach(server)
    const { port } = server.address() as AddressInfo // a TCP server that listens
    const watched = await compare(cpuPerMillion, () => viewer(port))
    server.close()
    return {
      metrics: {
        controlPercent: round(control.percent, 1),
        controlError: round(control.error, 1),
        unwatchedPercent: round(unwatched.percent, 1),
        unwatchedError: round(unwatched.error, 1),
        watchedPercent: round(watched.percent, 1),
        watchedError: round(watched.error, 1),
      },
    }
  } finally {
    await stage.end()
  }
}

type Tax = { percent: number; error: number }

/** Quadruples, so that drift of the machine falls on both sides and each one is a comparison of its own; the order by
 *  turns, so that what comes every few rounds (a full garbage collection) does too. */
async function compare(measure: () => Promise<number>, begin: () => Promise<() => Promise<void>>): Promise<Tax> {
  const percents: number[] = []
  const withIt = async (): Promise<number> => {
    const end = await begin()
    const cpu = await measure()
    await end()
    return cpu
  }
  for (let i = 0; i < QUADS; i++) {
    const [outer, inner] = i % 2 === 0 ? [measure, withIt] : [withIt, measure]
    const first = await outer()
    const middle = (await inner()) + (await inner())
    const ends = first + (await outer())
    percents.push(((i % 2 === 0 ? middle / ends : ends / middle) - 1) * 100)
  }
  const mean = percents.reduce((sum, percent) => sum + percent, 0) / QUADS
  const variance = percents.reduce((sum, percent) => sum + (percent - mean) ** 2, 0) / (QUADS - 1)
  return { percent: median(percents), error: Math.sqrt(variance / QUADS) }
}

async function viewer(port: number): Promise<() => Promise<void>> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/v1/feed`, ['vivarium.v1'])
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data)) as { t: string; id?: string; seq?: number }
    if (frame.t === 'hello') {
      const view = { mode: 'flat', sort: 'turns', dir: 'desc', window: [0, 60] }
      socket.send(JSON.stringify({ t: 'sub', id: 'rows', topic: 'processes', view }))
      socket.send(JSON.stringify({ t: 'sub', id: 'vitals', topic: 'vitals' }))
    } else if (frame.seq !== undefined) socket.send(JSON.stringify({ t: 'ack', id: frame.id, seq: frame.seq }))
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', () => {
      socket.send(JSON.stringify({ t: 'hello' }))
      resolve()
    })
    socket.once('error', reject)
  })
  return async () => {
    socket.close()
    await new Promise((resolve) => socket.once('close', resolve))
  }
}
