/**
 * One process of the toy world (test support of the observer): its row, and what its inspector shows. It behaves just
 * enough like a real one that every panel has something true to itself to show.
 */
import type { RuntimeEvent } from '../../shared/event.ts'
import type { FailureRecord, JournalItem, MailboxItem, ProcessDetail, ProcessRow } from '../../shared/snapshot.ts'

export type ToyEvent = RuntimeEvent & { id: string }

/** Entries kept per process. */
const KEPT = 200

export type ToySpec = Pick<ProcessRow, 'id' | 'kind' | 'agent' | 'parent' | 'durable' | 'strategy' | 'depth'>

export class ToyProcess {
  row: ProcessRow
  state: Record<string, unknown>
  mailbox: MailboxItem[] = []
  journal: JournalItem[] = []
  failures: FailureRecord[] = []
  events: RuntimeEvent[] = []
  desired: ProcessDetail['desired'] = 'running'
  lastExit: ProcessDetail['lastExit'] = null
  current: ProcessDetail['current'] = null
  readonly children: string[] = []
  readonly startedAt: number

  constructor(spec: ToySpec, now: number) {
    this.startedAt = now - 3_600_000
    this.state = spec.kind === 'agent' ? firstState(spec.id) : {}
    this.row = {
      ...spec,
      status: 'idle',
      incarnation: 1,
      mailbox: 0,
      turns: 0,
      busyMs: 0,
      restarts: 0,
      wait: null,
      stateVersion: spec.kind === 'agent' ? 1 : 0,
      children: 0,
      failures: 0,
      since: now,
      node: 'node-1',
      hidden: false,
    }
  }

  change(change: Partial<ProcessRow>): void {
    this.row = { ...this.row, ...change }
  }

  tell(event: RuntimeEvent): void {
    this.events = [...this.events, event].slice(-KEPT)
  }

  /** One committed turn: counters, state, journal. */
  turn(op: string, now: number, busyMs: number): JournalItem {
    const seq = this.row.turns + 1
    const total = typeof this.state.total === 'number' ? this.state.total + seq : seq
    const last = { op, at: { $date: now } }
    this.state = { ...this.state, total, last, history: [...historyOf(this.state), `${op} #${seq}`].slice(-8) }
    this.change({ turns: seq, busyMs: this.row.busyMs + busyMs, stateVersion: this.row.stateVersion + 1 })
    const item: JournalItem = {
      seq,
      at: now,
      kind: 'turn',
      summary: `${op}: ${seq % 3 === 0 ? '2 steps, 1 message sent' : 'state changed'}`,
      turns: [`turn-${seq}`],
      cause: `m-${seq}`,
      root: 'conversation-7',
      traceparent: null,
      actor: null,
      stateVersion: this.row.stateVersion,
      bytes: 240 + (seq % 7) * 31,
      payload: [{ k: 'end', op, how: 'done', sent: 0, patches: [{ op: 'set', path: ['total'], value: total }] }],
    }
    this.journal = [...this.journal, item].slice(-KEPT)
    return item
  }

  enqueue(op: string, from: string | null, now: number): void {
    const position = this.mailbox.length
    const messageId = `m-${this.row.turns}-${position}-${now}`
    const preview = JSON.stringify({ op, amount: (position * 37) % 400, note: 'please' })
    const kind = from === null ? 'send' : 'call'
    this.mailbox.push({ messageId, position, kind, op, from, at: now, bytes: preview.length, attempts: 0, preview })
    this.change({ mailbox: this.mailbox.length })
  }

  detail(children: readonly ToyProcess[]): ProcessDetail {
    const { row } = this
    const key = row.id.slice(row.id.indexOf('/') + 1)
    return {
      ...row,
      key,
      names: row.id === 'mailer/main' ? ['mailer'] : [],
      links: [],
      monitors: row.agent === 'order' ? ['courier/main'] : [],
      monitoredBy: [],
      trapExit: row.kind === 'supervisor',
      desired: this.desired,
      startedAt: this.startedAt,
      lastExit: this.lastExit,
      supervisor: row.kind === 'supervisor' ? supervisorDetail(row, children) : null,
      ops: row.kind === 'agent' ? OPS : [],
      mailboxLimit: 1_000,
      placement: 'shared',
      stateBytes: JSON.stringify(this.state).length,
      current: this.current,
    }
  }
}

const OPS: ProcessDetail['ops'] = [
  { name: 'ask', kind: 'handler' },
  { name: 'cancel', kind: 'handler' },
  { name: 'status', kind: 'query' },
]

function supervisorDetail(row: ProcessRow, children: readonly ToyProcess[]): ProcessDetail['supervisor'] {
  return {
    strategy: row.strategy ?? 'one_for_one',
    intensity: 3,
    periodMs: 5_000,
    recentRestarts: row.id === 'supervisor/fulfilment' ? 2 : 0,
    gaveUp: false,
    children: children.slice(0, 200).map((child) => ({
      id: child.row.id.slice(child.row.id.indexOf('/') + 1),
      process: child.row.id,
      restart: 'permanent',
      status: child.row.status,
    })),
  }
}

function firstState(id: string): Record<string, unknown> {
  return {
    id,
    customer: { name: 'Ada Byron', tier: 'gold', since: { $date: 1_700_000_000_000 } },
    items: [
      { sku: 'kettle-17', qty: 1, price: 39.9 },
      { sku: 'cup-4', qty: 6, price: 4.5 },
    ],
    tags: { $set: ['gift', 'express'] },
    total: 66.9,
    paid: false,
    history: [],
  }
}

function historyOf(state: Record<string, unknown>): unknown[] {
  return Array.isArray(state.history) ? state.history : []
}
