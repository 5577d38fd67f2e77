/**
 * A living system for tests of the observer: a tree of processes that work, wait, fail and restart, without a runtime.
 * Deterministic but for time: chance comes from a seeded generator.
 */
import type { Problem } from '../../shared/frame.ts'
import {
  type AuditItem,
  type BlastRadius,
  type DeadLetter,
  type FailureRecord,
  type Need,
  PROCESS_STATUSES,
  type ProcessStatus,
  type Vitals,
  type Wait,
} from '../../shared/snapshot.ts'
import { ToyProcess, type ToySpec } from './toy-process.ts'

export type ToyAct = {
  verb: string
  target: string
  incarnation?: number | undefined
  reason?: string | undefined
  op?: string | undefined
  message?: string | undefined
}

/** Milliseconds a restart takes: long enough to be seen. */
const RESTART_MS = 700
const HISTORY_MAX = 180

export class ToyWorld {
  readonly processes = new Map<string, ToyProcess>()
  readonly failures: FailureRecord[] = []
  readonly letters: DeadLetter[] = []
  readonly audit: AuditItem[] = []
  readonly history: Vitals[] = []
  /** Raised when a process is born or dies. */
  treeVersion = 0
  viewers = 0
  /** Seconds lived, and one more for each action. */
  beat = 0
  #random: number
  #turns = 0
  #restarts = 0
  readonly #startedAt = Date.now() - 5_400_000

  constructor(size: number, seed = 7) {
    this.#random = seed
    this.#grow(size)
    for (let i = 0; i < 120; i++) this.tick(Date.now() - (120 - i) * 1_000)
  }

  chance(): number {
    // Mulberry32: small, and the same on every machine.
    this.#random = (this.#random + 0x6d2b79f5) | 0
    let t = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** One second of life. */
  tick(now = Date.now()): void {
    this.beat++
    const agents = [...this.processes.values()].filter((process) => process.row.kind === 'agent')
    const busy = Math.max(4, Math.round(agents.length * 0.06))
    for (let i = 0; i < busy; i++) {
      const process = agents[Math.floor(this.chance() * agents.length)]
      if (process !== undefined) this.#live(process, now)
    }
    const unlucky = agents[Math.floor(this.chance() * agents.length)]
    if (unlucky !== undefined && this.chance() < 0.06 && canFail(unlucky.row.status)) this.crash(unlucky, now)
    this.history.push(this.vitals(now, busy))
    if (this.history.length > HISTORY_MAX) this.history.shift()
  }

  crash(process: ToyProcess, now: number): void {
    const failure = failureOf(process, now, this.failures.length)
    this.failures.push(failure)
    process.failures.push(failure)
    process.change({ failures: process.row.failures + 1 })
    process.lastExit = { kind: 'error', text: failure.error.message, at: now }
    this.#restart(process, now)
    if (this.failures.length % 3 === 0) this.#letter(process, failure, now)
  }

  vitals(now: number, turns: number): Vitals {
    const processes = Object.fromEntries(PROCESS_STATUSES.map((status) => [status, 0])) as Record<ProcessStatus, number>
    let mailbox = 0
    for (const { row } of this.processes.values()) {
      processes[row.status]++
      mailbox += row.mailbox
    }
    const wave = Math.sin(now / 17_000)
    return {
      at: now,
      node: 'node-1',
      uptimeMs: now - this.#startedAt,
      processes,
      total: this.processes.size,
      turns: this.#turns,
      turnsPerSecond: turns * 3 + wave * 5,
      commitsPerSecond: 41 + wave * 6,
      commitRowsPerBatch: 12 + wave,
      commitLatencyMs: 1.9 + wave * 0.6 + this.chance() * 0.5,
      mailbox,
      restarts: this.#restarts,
      failures: this.failures.length,
      deadLetters: this.letters.filter((letter) => letter.redeliveredAt === null).length,
      thread: { utilisation: 0.3, gcMs: 4, gcMaxMs: 2, blocks: 0, blockedMs: 0, longest: null },
      eventLoopDelayP99Ms: 2.2 + this.chance() * 3,
      cpuPercent: 21 + wave * 4,
      rssBytes: 148_000_000 + wave * 6_000_000,
      heapBytes: 71_000_000 + wave * 3_000_000,
      store: 'up',
      feed: { viewers: this.viewers, bytesPerSecond: 8_900, dropped: 0, cpuPercent: 0.3 },
    }
  }

  needs(now: number): Need[] {
    const needs: Need[] = []
    for (const { row } of this.processes.values()) {
      const age = row.wait === null ? 0 : now - row.wait.since
      if (row.status === 'diverged')
        needs.push(need('critical', 'diverged', row.id, row.since, 'code asks for step charge, journal holds reserve'))
      else if (row.status === 'suspended')
        needs.push(need('notice', 'suspended', row.id, row.since, 'suspended by operator:ana'))
      else if (row.restarts >= 3)
        needs.push(need('warning', 'crash-loop', row.id, row.since, `${row.restarts} restarts`))
      else if (age > 60_000)
        needs.push(need('warning', 'stuck', row.id, row.since, `waits for ${row.wait?.target ?? '?'}`))
    }
    needs.push(
      need(
        'warning',
        'near-limit',
        'supervisor/fulfilment',
        now - 4_000,
        '2 of 3 restarts in 5 s; the next but one escalates',
      ),
    )
    const order = { critical: 0, warning: 1, notice: 2 }
    return needs.sort((a, b) => order[a.severity] - order[b.severity] || a.since - b.since).slice(0, 40)
  }

  plan(verb: string, target: string): BlastRadius | Problem {
    const process = this.processes.get(target)
    if (process === undefined) return notFound(target)
    const { row } = process
    const siblings = this.processes.get(row.parent ?? '')?.children.filter((id) => id !== target) ?? []
    const together = row.parent === 'supervisor/fulfilment' ? siblings : []
    const ends = verb === 'kill' || verb === 'restart' || verb === 'stop'
    return {
      verb,
      target,
      incarnation: row.incarnation,
      affected: ends
        ? [
            ...together.map((id) => ({ id, effect: 'restarts' as const, why: 'rest for one: started after it' })),
            ...siblings
              .slice(0, 30)
              .filter((id) => !together.includes(id))
              .map((id) => ({ id, effect: 'unaffected' as const, why: 'one for one' })),
          ]
        : [],
      message: process.current === null ? 'none' : `${process.current.op} is redelivered: one attempt of three`,
      queue: row.mailbox === 0 ? 'empty' : `${row.mailbox} messages are kept`,
      callers: row.agent === 'inventory' ? ['order/1002', 'order/1017'].filter((id) => this.processes.has(id)) : [],
      budget: ends && verb !== 'stop' ? 'costs none: an operator acts' : null,
    }
  }

  act(act: ToyAct, now = Date.now()): { outcome: string } | Problem {
    const process = this.processes.get(act.target)
    if (process === undefined) return notFound(act.target)
    if (act.incarnation !== undefined && act.incarnation !== process.row.incarnation) {
      return problem(
        'INCARNATION_GONE',
        409,
        `${act.target} is incarnation ${process.row.incarnation} now, not ${act.incarnation}.`,
      )
    }
    const outcome = this.#carryOut(act, process, now)
    this.beat++
    const { verb, target, reason } = act
    this.audit.push({
      id: `a${this.audit.length}`,
      at: now,
      actor: 'operator:local',
      verb,
      target,
      reason: reason ?? null,
      outcome,
      detail: null,
    })
    return { outcome }
  }

  #carryOut(act: ToyAct, process: ToyProcess, now: number): string {
    switch (act.verb) {
      case 'kill':
        process.lastExit = { kind: 'killed', text: `killed by operator: ${act.reason ?? ''}`, at: now }
        process.failures.push(failureOf(process, now, this.failures.length, 'Killed', `killed: ${act.reason ?? ''}`))
        process.change({ failures: process.row.failures + 1 })
        this.#restart(process, now)
        return 'killed'
      case 'restart':
        process.desired = 'running'
        this.#restart(process, now)
        return 'restarted'
      case 'stop':
        process.desired = 'stopped'
        process.lastExit = { kind: 'shutdown', text: 'stopped by operator', at: now }
        process.change({ status: 'exited', wait: null, since: now })
        return 'stopped'
      case 'suspend':
        process.desired = 'suspended'
        process.change({ status: 'suspended', wait: null, since: now })
        return 'suspended'
      case 'resume':
        process.desired = 'running'
        process.change({ status: 'idle', since: now })
        return 'resumed'
      case 'send':
        process.enqueue(act.op ?? '?', null, now)
        return 'in the mailbox'
      case 'drop-message':
        process.mailbox = process.mailbox.filter((item) => item.messageId !== act.message)
        process.change({ mailbox: process.mailbox.length })
        return 'dropped'
      case 'redeliver-dead-letter': {
        const letter = this.letters.find((each) => each.id === act.message)
        if (letter !== undefined) letter.redeliveredAt = now
        return 'redelivered'
      }
      default:
        return 'done'
    }
  }

  #grow(size: number): void {
    const now = Date.now()
    this.#add(
      {
        id: 'supervisor/root',
        kind: 'supervisor',
        agent: null,
        parent: null,
        durable: false,
        strategy: 'one_for_one',
        depth: 0,
      },
      now,
    )
    for (const [id, strategy] of [
      ['supervisor/fulfilment', 'rest_for_one'],
      ['pool/concierge', 'one_for_one'],
      ['pool/order', 'one_for_one'],
      ['pool/inventory', 'one_for_one'],
    ] as const) {
      this.#add(
        { id, kind: 'supervisor', agent: null, parent: 'supervisor/root', durable: false, strategy, depth: 1 },
        now,
      )
    }
    for (const id of ['courier/main', 'mailer/main', 'price/feed']) {
      this.#add(
        {
          id,
          kind: id === 'price/feed' ? 'service' : 'agent',
          agent: id.split('/')[0] ?? null,
          parent: 'supervisor/fulfilment',
          durable: id !== 'price/feed',
          strategy: null,
          depth: 2,
        },
        now,
      )
    }
    const names = ['ada', 'grace', 'linus', 'barbara', 'edsger', 'alan', 'katherine', 'donald', 'radia', 'ken']
    for (let i = 0; this.processes.size < size; i++) {
      const agent = i % 10 < 6 ? 'order' : i % 10 < 8 ? 'concierge' : 'inventory'
      const key = agent === 'order' ? String(1_000 + i) : agent === 'concierge' ? `${names[i % 10]}-${i}` : `sku-${i}`
      this.#add(
        {
          id: `${agent}/${key}`,
          kind: 'agent',
          agent,
          parent: `pool/${agent}`,
          durable: true,
          strategy: null,
          depth: 2,
        },
        now,
      )
    }
    this.processes.get('order/1003')?.change({ status: 'diverged', since: now - 400_000 })
    this.processes.get('order/1010')?.change({ status: 'suspended', since: now - 90_000 })
    this.processes.get('order/1012')?.change({
      status: 'waiting',
      since: now - 95_000,
      wait: wait('call', 'inventory/sku-18', now - 95_000, null, 1),
    })
  }

  #add(spec: ToySpec, now: number): void {
    this.processes.set(spec.id, new ToyProcess(spec, now))
    const parent = this.processes.get(spec.parent ?? '')
    parent?.children.push(spec.id)
    parent?.change({ children: parent.children.length })
    this.treeVersion++
  }

  #live(process: ToyProcess, now: number): void {
    const { row } = process
    if (['diverged', 'suspended', 'exited', 'restarting'].includes(row.status) || row.id === 'order/1012') return
    const dice = this.chance()
    const op = dice < 0.5 ? 'ask' : 'reserve'
    process.current = null
    if (dice < 0.35) {
      process.turn(op, now, 2 + dice * 40)
      process.mailbox = process.mailbox.slice(1).map((item, position) => ({ ...item, position }))
      process.change({ status: 'idle', wait: null, since: now, mailbox: process.mailbox.length })
      this.#turns += 3
    } else if (dice < 0.6) {
      process.current = { op, from: 'concierge/ada-6', since: now, attempt: 1, messageId: `m-${now}` }
      process.change({ status: 'waiting', since: now, wait: this.#someWait(row.agent, now) })
    } else if (dice < 0.75) {
      process.current = { op, from: null, since: now, attempt: 1, messageId: `m-${now}` }
      process.change({ status: 'running', since: now, wait: null })
    } else process.enqueue(op, 'concierge/ada-6', now)
    process.tell({
      at: now,
      kind: 'turn:stop',
      turn: null,
      op,
      durationMs: 3 + dice * 20,
      outcome: 'done',
      id: row.id,
      incarnation: row.incarnation,
    })
  }

  #someWait(agent: string | null, now: number): Wait {
    const dice = this.chance()
    if (agent === 'order' && dice < 0.5) return wait('call', 'inventory/sku-18', now, now + 30_000, 1)
    if (dice < 0.75) return wait('step', 'charge', now, null, dice < 0.6 ? 2 : 1)
    if (dice < 0.9) return wait('retry', 'charge', now, now + 9_000, 2)
    return wait('sleep', null, now, now + 120_000, 1)
  }

  #restart(process: ToyProcess, now: number): void {
    const { row } = process
    this.#restarts++
    process.current = null
    process.change({
      status: 'restarting',
      since: now,
      incarnation: row.incarnation + 1,
      restarts: row.restarts + 1,
      wait: wait('restart', null, now, now + RESTART_MS, 1),
    })
    process.tell({
      at: now,
      kind: 'process:restart',
      delayMs: RESTART_MS,
      id: row.id,
      incarnation: row.incarnation + 1,
    })
    setTimeout(() => {
      if (process.row.status !== 'restarting') return
      process.change({ status: 'idle', wait: null, since: Date.now() })
    }, RESTART_MS).unref()
  }

  #letter(process: ToyProcess, failure: FailureRecord, now: number): void {
    const id = `d${this.letters.length}`
    this.letters.push({
      id,
      process: process.row.id,
      messageId: `m-${id}`,
      op: 'charge',
      args: { amount: 12, card: '…4242' },
      from: 'concierge/ada-6',
      at: now,
      reason: failure.error.message,
      failureId: failure.id,
      redeliveredAt: null,
    })
  }
}

function canFail(status: ProcessStatus): boolean {
  return status === 'idle' || status === 'running' || status === 'waiting'
}

function wait(
  kind: Wait['kind'],
  target: string | null,
  since: number,
  deadline: number | null,
  attempt: number,
): Wait {
  return { kind, target, since, deadline, attempt }
}

function need(severity: Need['severity'], kind: Need['kind'], process: string, since: number, text: string): Need {
  return { key: `${kind}:${process}`, severity, kind, process, since, text }
}

function failureOf(
  process: ToyProcess,
  at: number,
  n: number,
  name = 'Crash',
  message = 'price service answered 503',
): FailureRecord {
  const { row } = process
  return {
    id: `f${n}-${row.id}-${at}`,
    process: row.id,
    incarnation: row.incarnation,
    at,
    class: name,
    error: {
      code: name,
      message,
      stack: `Error: ${message}\n    at charge (order.ts:41:13)\n    at order.ask (order.ts:28:20)`,
    },
    attempt: 1,
    messageId: `m-${n}`,
    op: 'charge',
    decision: 'restarted, message redelivered',
    box: {
      events: process.events.slice(-8).map((event) => ({ at: event.at, text: event.kind })),
      mailbox: { length: row.mailbox, heads: process.mailbox.slice(0, 3).map((item) => item.op) },
      wait: row.wait,
      status: row.status,
      turn: { id: `turn-${n}`, op: 'charge', since: at - 240 },
    },
  }
}

export function problem(code: string, status: number, detail: string): Problem {
  return { type: `urn:vivarium:${code}`, title: code, status, detail, code }
}

function notFound(id: string): Problem {
  return problem('PROCESS_NOT_FOUND', 404, `There is no process ${id}.`)
}

export function isProblem(value: object): value is Problem {
  return 'code' in value && 'detail' in value
}
