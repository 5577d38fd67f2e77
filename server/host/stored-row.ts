/**
 * Processes that are not in memory, as far as the store knows them.
 *
 * - State version, mailbox, restarts, wait and parent are stored and true. What only memory counts is 0: `turns`,
 *   `busyMs`, `failures`, `children`. `since` is the birth of the process; when it left memory is not stored.
 * - Names, links, monitors and the last exit are rows as well. What a supervisor is like, only its node knows.
 */
import { type ProcessId, splitId } from '../../shared/id.ts'
import type { ProcessDetail, ProcessRow, Wait } from '../../shared/snapshot.ts'
import { decode } from '../../shared/value.ts'
import type { ExitReason } from '../kernel/exit.ts'
import { exitSummary } from '../kernel/row.ts'
import type { ShownProcess, ShownTies } from '../store/archive.ts'

export function storedRow(record: ShownProcess, { mailbox, depth }: { mailbox: number; depth: number }): ProcessRow {
  return {
    id: record.id,
    kind: record.kind,
    agent: record.agent,
    parent: record.parent,
    status: record.ended ? 'exited' : record.diverged ? 'diverged' : 'passive',
    incarnation: record.incarnation,
    mailbox,
    turns: 0,
    busyMs: 0,
    restarts: record.restarts,
    wait: waitOf(record),
    stateVersion: record.seq,
    durable: true,
    depth,
    children: 0,
    failures: 0,
    since: record.createdAt,
    strategy: null,
    node: null,
    hidden: false,
    ...(record.sandbox === null ? {} : { sandbox: record.sandbox }),
  }
}

/** What a parked turn waits for. */
function waitOf({ wait }: ShownProcess): Wait | null {
  return wait === null ? null : (JSON.parse(wait) as Wait) // written by the release that parked it
}

export function storedDetail(
  row: ProcessRow,
  { record, ties, ops }: { record: ShownProcess; ties: ShownTies; ops: ProcessDetail['ops'] },
): ProcessDetail {
  const peers = (wanted: ShownTies['links'][number]['kind']): ProcessId[] =>
    ties.links.flatMap(({ kind, peer }) => (kind === wanted ? [peer] : []))
  return {
    ...row,
    key: splitId(record.id).key,
    names: [...ties.names],
    links: peers('link'),
    monitors: peers('monitor'),
    monitoredBy: peers('monitored'),
    trapExit: record.trapExit,
    desired: record.desired,
    startedAt: record.createdAt,
    lastExit: exitOf(record, ties),
    supervisor: null,
    ops,
    mailboxLimit: 0,
    placement: 'shared',
    stateBytes: null,
    current: null,
  }
}

/** While nothing began after it, the last row is that of the exit; the time of an earlier exit is stored nowhere. */
function exitOf({ exit, ended, gone }: ShownProcess, { lastAt }: ShownTies): ProcessDetail['lastExit'] {
  if (exit === null) return null
  const reason = decode(exit) as unknown as ExitReason // written by the commit that stored the end
  return { ...exitSummary(reason), at: ended || gone ? lastAt : null }
}
