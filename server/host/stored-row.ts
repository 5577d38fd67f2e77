/**
 * Processes that are not in memory, as far as the store knows them.
 *
 * - State version, mailbox, restarts, wait and parent are stored and true. What only memory counts is 0: `turns`,
 *   `busyMs`, `failures`, `children`. `since` is the birth of the process; when it left memory is not stored.
 */
import { splitId } from '../../shared/id.ts'
import type { ProcessDetail, ProcessRow, Wait } from '../../shared/snapshot.ts'
import type { ShownProcess } from '../store/store.ts'

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
  }
}

/** What a parked turn waits for. */
function waitOf({ wait }: ShownProcess): Wait | null {
  return wait === null ? null : (JSON.parse(wait) as Wait) // written by the release that parked it
}

export function storedDetail(row: ProcessRow, record: ShownProcess, ops: ProcessDetail['ops']): ProcessDetail {
  return {
    ...row,
    key: splitId(record.id).key,
    names: [],
    links: [],
    monitors: [],
    monitoredBy: [],
    trapExit: false,
    desired: record.desired,
    startedAt: record.createdAt,
    lastExit: null,
    supervisor: null,
    ops,
    mailboxLimit: 0,
    placement: 'shared',
    stateBytes: null,
    current: null,
  }
}
