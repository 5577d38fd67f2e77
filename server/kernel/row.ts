/**
 * What readers see of processes: plain rows made from live objects, without ever calling into user code.
 */
import type { ExitSummary, MailboxItem, ProcessDetail, ProcessRow, ProcessStatus } from '../../shared/snapshot.ts'
import { encodeCopied } from '../../shared/value.ts'
import type { Envelope } from './envelope.ts'
import { type ExitReason, exitText } from './exit.ts'
import type { Process } from './process.ts'

/** Characters of a message body in a mailbox listing. */
export const PREVIEW_LENGTH_MAX = 500

/** Levels. Deeper than any tree; a bound against a cycle that must not exist. */
const DEPTH_MAX = 1_000

/** A fresh row; `node` is what the runtime calls this node. */
export function processRow(process: Process, node: string | null): ProcessRow {
  const { stats } = process
  return {
    id: process.id,
    kind: process.kind,
    agent: process.agent,
    parent: process.parent?.id ?? null,
    status: statusOf(process),
    incarnation: process.incarnation,
    mailbox: process.mailboxLength,
    turns: stats.turns,
    busyMs: stats.busyMs,
    restarts: stats.restarts,
    wait: process.wait,
    stateVersion: stats.stateVersion,
    durable: process.durable,
    depth: depthOf(process),
    children: childCount(process),
    failures: stats.failures,
    since: stats.since,
    strategy: process.supervisor?.strategy ?? null,
    node,
    hidden: process.hidden,
  }
}

/** An open turn that waits for something the runtime knows is `waiting`, not `running`. */
export function statusOf(process: Process): ProcessStatus {
  if (process.status === 'running') return process.wait === null ? 'running' : 'waiting'
  if (process.status !== 'idle') return process.status
  if (process.suspended) return 'suspended'
  if (process.busy) return 'running'
  return 'idle'
}

/** The parts of a detail view that the kernel knows. */
export type KernelDetail = Pick<
  ProcessDetail,
  | 'key'
  | 'names'
  | 'links'
  | 'monitors'
  | 'monitoredBy'
  | 'trapExit'
  | 'startedAt'
  | 'lastExit'
  | 'supervisor'
  | 'current'
> & { mailboxLimit: number }

export function kernelDetail(process: Process, now: number, names: readonly string[]): KernelDetail {
  const { ties, current } = process
  return {
    key: process.key,
    names: [...names],
    links: [...process.links].map((other) => other.id),
    monitors: [...(ties?.monitors?.values() ?? [])].map((monitor) => monitor.target.id),
    monitoredBy: [...(ties?.monitoredBy ?? [])].map((monitor) => monitor.watcher.id),
    trapExit: process.trapExit,
    startedAt: process.stats.startedAt,
    lastExit: process.lastExit === null ? null : { ...exitSummary(process.lastExit.reason), at: process.lastExit.at },
    supervisor: process.supervisor?.detail(now) ?? null,
    current:
      current === null
        ? null
        : {
            op: current.op,
            from: current.from,
            since: process.stats.since,
            attempt: current.attempts + 1,
            messageId: current.messageId,
          },
    mailboxLimit: process.mailboxLimit,
  }
}

export function exitSummary(reason: ExitReason): ExitSummary {
  return { kind: reason.kind, text: exitText(reason) }
}

/** Messages that wait, oldest first; `after` counts positions. Nothing is taken. */
export function mailboxItems(process: Process, after: number, limit: number): MailboxItem[] {
  const envelopes = process.mailbox?.peek(after, limit) ?? []
  return envelopes.map((envelope, i) => mailboxItem(envelope, after + i))
}

function mailboxItem(envelope: Envelope, position: number): MailboxItem {
  const text = encodeCopied(envelope.args)
  return {
    messageId: envelope.messageId,
    position,
    kind: kindOf(envelope),
    op: envelope.op,
    from: envelope.from,
    at: envelope.at,
    bytes: text.length,
    attempts: envelope.attempts,
    preview: text.length > PREVIEW_LENGTH_MAX ? `${text.slice(0, PREVIEW_LENGTH_MAX)}…` : text,
  }
}

function kindOf(envelope: Envelope): MailboxItem['kind'] {
  switch (envelope.kind) {
    case 'call':
    case 'send':
    case 'timer':
      return envelope.kind
    case 'exit':
    case 'down':
      return 'signal'
    case 'topic':
      return 'info'
    default:
      return envelope.kind satisfies never
  }
}

export function depthOf(process: Process): number {
  let depth = 0
  for (let at = process.parent; at !== null && depth < DEPTH_MAX; at = at.parent) depth += 1
  return depth
}

export function childCount(process: Process): number {
  return (process.supervisor?.childCount ?? 0) + (process.ties?.children?.size ?? 0)
}
