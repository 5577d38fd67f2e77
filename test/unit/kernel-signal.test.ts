/** Exit signals, links and monitors: the receipt rules of OTP. */
import { describe, expect, test } from 'vitest'
import { crash, type ExitReason, exitText, KILL, KILLED, NORMAL, SHUTDOWN, shutdown } from '../../server/kernel/exit.ts'
import type { Process } from '../../server/kernel/process.ts'
import { Bench, type Ctx, found, thrownCode } from '../support/kernel-bench.ts'

const other = { id: 'x/1', incarnation: 1 }
const error: ExitReason = crash({ code: 'Error', message: 'boom' })

function trapping(bench: Bench, id: string): Process {
  return bench.spawn(
    id,
    {
      onExit: (ctx, signal) => void ctx.log.push(`${id} EXIT ${signal.from} ${exitText(signal.reason)}`),
      onDown: (ctx, down) => void ctx.log.push(`${id} DOWN ${down.process} ${exitText(down.reason)}`),
    },
    { trapExit: true },
  )
}

describe('receipt of exit signals', () => {
  test('[K30] case 1: a signal over a link that was dissolved meanwhile is dropped', () => {
    const bench = new Bench()
    const a = bench.spawn('a/1')
    const b = bench.spawn('a/2')
    bench.kernel.link(a, b)
    bench.kernel.unlink(a, b)
    bench.kernel.exitSignal({ from: a, to: b, reason: error, viaLink: true })
    bench.kernel.kill(a, { redeliver: false })
    expect(b.alive).toBe(true)
  })

  test('[K31] case 2: kill cannot be trapped and is seen as killed', async () => {
    const bench = new Bench()
    const victim = trapping(bench, 'a/1')
    const peer = trapping(bench, 'a/2')
    const bystander = bench.spawn('a/3')
    bench.kernel.link(victim, peer)
    bench.kernel.link(victim, bystander)
    bench.kernel.exitSignal({ from: other, to: victim, reason: KILL, viaLink: false })
    await bench.settle()
    expect(victim.exit).toEqual(KILLED)
    // `killed` is an ordinary reason: it does not cascade as unstoppable, but kills a peer that does not trap.
    expect(bench.log).toEqual(['a/2 EXIT a/1 killed'])
    expect(bystander.exit).toEqual(KILLED)
    bench.kernel.exitSignal({ from: other, to: peer, reason: KILLED, viaLink: false })
    expect(peer.alive).toBe(true)
  })

  test('[K32] case 3: normal is dropped where it is not trapped', () => {
    const bench = new Bench()
    const a = bench.spawn('a/1')
    const b = bench.spawn('a/2')
    bench.kernel.link(a, b)
    bench.kernel.exitSignal({ from: a, to: b, reason: NORMAL, viaLink: false })
    bench.kernel.end(a, NORMAL)
    expect(b.alive).toBe(true)
  })

  test('[K33] case 4: normal to oneself ends the process; a trapping one gets a message', async () => {
    const bench = new Bench()
    const plain = bench.spawn('a/1')
    const traps = trapping(bench, 'a/2')
    bench.kernel.exitSignal({ from: plain, to: plain, reason: NORMAL, viaLink: false })
    bench.kernel.exitSignal({ from: traps, to: traps, reason: NORMAL, viaLink: false })
    await bench.settle()
    expect([plain.exit, traps.alive, bench.log]).toEqual([NORMAL, true, ['a/2 EXIT a/2 normal']])
  })

  test('[K34] case 5: any other reason kills; kill over a link stays kill', () => {
    const bench = new Bench()
    const chain = [1, 2, 3].map((n) => bench.spawn(`a/${n}`))
    const [a, b, c] = chain.map(found) as [Process, Process, Process]
    bench.kernel.link(a, b)
    bench.kernel.link(b, c)
    bench.kernel.end(a, KILL)
    expect([b.exit, c.exit]).toEqual([KILL, KILL])
    const d = bench.spawn('a/4')
    bench.kernel.exitSignal({ from: other, to: d, reason: SHUTDOWN, viaLink: false })
    expect(d.exit).toEqual(SHUTDOWN)
  })

  test('[K35] case 6: trapped signals become messages, kill over a link too', async () => {
    const bench = new Bench()
    const a = bench.spawn('a/1')
    const b = trapping(bench, 'a/2')
    bench.kernel.link(a, b)
    bench.kernel.end(a, KILL)
    bench.kernel.exitSignal({ from: other, to: b, reason: error, viaLink: false })
    await bench.settle()
    expect(bench.log).toEqual(['a/2 EXIT a/1 kill', 'a/2 EXIT x/1 crash Error: boom'])
    expect(b.alive).toBe(true)
  })

  test('[K35] the exit of a parent is handled by the loop: a trapping child stops in order', async () => {
    const bench = new Bench()
    const parent = bench.spawn('a/1')
    const child = bench.spawn(
      'a/2',
      { terminate: (ctx: Ctx) => void ctx.log.push('terminate'), onExit: (ctx: Ctx) => void ctx.log.push('message') },
      { parent, link: parent, trapExit: true },
    )
    bench.kernel.end(parent, shutdown('gone'))
    await bench.settle()
    expect([bench.log, exitText(found(child.exit))]).toEqual([['terminate'], 'shutdown: gone'])
  })

  test('[K36] links: both ways, one per pair, one unlink is enough; ten thousand die without a deep stack', () => {
    const bench = new Bench()
    const a = bench.spawn('a/1')
    const b = bench.spawn('a/2')
    bench.kernel.link(a, b)
    bench.kernel.link(b, a)
    bench.kernel.unlink(b, a)
    expect([a.links.size, b.links.size]).toEqual([0, 0])
    bench.kernel.end(a, error)
    expect(b.alive).toBe(true)
    const chain = Array.from({ length: 10_000 }, (_, i) => bench.spawn(`chain/${i}`))
    chain.reduce((before, process) => {
      bench.kernel.link(before, process)
      return process
    })
    bench.kernel.end(found(chain[0]), error)
    expect(chain.every((process) => !process.alive)).toBe(true)
  })

  test('[K36] linking at birth leaves no window', () => {
    const bench = new Bench()
    const parent = bench.spawn('a/1')
    const failing = {
      activated: (): never => {
        throw new Error('boom')
      },
    }
    expect(thrownCode(() => bench.spawn('a/2', failing, { link: parent }))).toBe('CHILD_START_FAILED')
    expect(parent.alive).toBe(false)
  })

  test('[K37] linking to what is not alive: an error, or a message when trapping', async () => {
    const bench = new Bench()
    const dead = bench.spawn('a/9')
    bench.kernel.end(dead, NORMAL)
    const plain = bench.spawn('a/1')
    const traps = trapping(bench, 'a/2')
    expect(thrownCode(() => bench.kernel.link(plain, dead))).toBe('LINK_NO_PROCESS')
    expect(thrownCode(() => bench.kernel.link(plain, 'no/one'))).toBe('LINK_NO_PROCESS')
    bench.kernel.link(traps, dead)
    bench.kernel.link(traps, 'no/one')
    await bench.settle()
    expect(bench.log).toEqual(['a/2 EXIT a/9 noproc', 'a/2 EXIT no/one noproc'])
  })
})

describe('monitors', () => {
  test('[K38] each monitor is its own, fires once, and says noproc for what does not exist', async () => {
    const bench = new Bench()
    const watcher = trapping(bench, 'a/w')
    const target = bench.spawn('a/1')
    const refs = [bench.kernel.monitor(watcher, target), bench.kernel.monitor(watcher, 'a/1')]
    expect(new Set(refs).size).toBe(2)
    bench.kernel.end(target, NORMAL)
    bench.kernel.monitor(watcher, target)
    bench.kernel.monitor(watcher, 'no/one')
    await bench.settle()
    const down = 'a/w DOWN a/1 normal'
    expect(bench.log).toEqual([down, down, 'a/w DOWN a/1 noproc', 'a/w DOWN no/one noproc'])
    expect(watcher.ties?.monitors?.size).toBe(0)
  })

  test('[K39] after demonitor no down comes but one that is queued, and that goes with flush', async () => {
    const bench = new Bench()
    const watcher = trapping(bench, 'a/w')
    bench.kernel.suspend(watcher)
    const [a, b, c] = ['a/1', 'a/2', 'a/3'].map((id) => bench.spawn(id)) as [Process, Process, Process]
    const refs = [a, b, c].map((process) => bench.kernel.monitor(watcher, process)) as [string, string, string]
    expect(bench.kernel.demonitor(watcher, refs[0])).toBe(true)
    for (const process of [a, b, c]) bench.kernel.end(process, NORMAL)
    expect(bench.kernel.demonitor(watcher, refs[1])).toBe(false)
    expect(bench.kernel.demonitor(watcher, refs[2], { flush: true })).toBe(false)
    bench.kernel.resume(watcher)
    await bench.settle()
    expect(bench.log).toEqual(['a/w DOWN a/2 normal'])
  })

  test('[K38] the death of the watcher drops its monitors and never touches the target', async () => {
    const bench = new Bench()
    const watcher = bench.spawn('a/w')
    const target = bench.spawn('a/1')
    bench.kernel.monitor(watcher, target)
    bench.kernel.kill(watcher, { redeliver: false })
    expect([target.alive, target.ties?.monitoredBy?.size]).toEqual([true, 0])
  })

  test('[K25] what was sent before a death is handled before the news of it', async () => {
    const bench = new Bench()
    bench.spawn('a/w', {
      on: { word: (ctx) => void ctx.log.push('word') },
      onDown: (ctx) => void ctx.log.push('down'),
    })
    const speaker = bench.spawn('a/1', {
      on: {
        last: (ctx) => {
          ctx.kernel.send('a/w', 'word', null)
          ctx.kernel.exitSelf(ctx.process, NORMAL)
        },
      },
    })
    bench.kernel.monitor(bench.get('a/w'), speaker)
    bench.send('a/1', 'last')
    await bench.settle()
    expect(bench.log).toEqual(['word', 'down'])
  })
})
