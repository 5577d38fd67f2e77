/** A row of `processes` as the store's interface shows it. */
import type { ProcessRecord } from '../store.ts'
import { ms } from './context.ts'

export type ProcessRow = {
  pid: number
  id: string
  agent: string
  key: string
  kind: ProcessRecord['kind']
  parent: string | null
  incarnation: number
  state_version: number
  restarts: number
  desired: ProcessRecord['desired']
  diverged: boolean
  trap_exit: boolean
  gone: boolean
  ended: boolean
  exit: string | null
  wait: string | null
  owner: number | null
  owner_epoch: number | null
  created_at: number
  sandbox: string | null
  branch: number
}

/** Columns of `alias` under the names of ProcessRow. */
export function processColumns(alias: string): string {
  const plain = [
    ...['pid', 'id', 'agent', 'key', 'kind', 'parent', 'incarnation', 'state_version', 'restarts', 'desired'],
    ...['diverged', 'trap_exit', 'gone', 'ended', 'exit', 'wait', 'owner', 'owner_epoch', 'sandbox', 'branch'],
  ]
  return `${plain.map((name) => `${alias}.${name}`).join(', ')}, ${ms(`${alias}.created_at`)} as created_at`
}

export function processRecord(row: ProcessRow): ProcessRecord {
  return {
    pid: row.pid,
    id: row.id,
    agent: row.agent,
    key: row.key,
    kind: row.kind,
    parent: row.parent,
    incarnation: row.incarnation,
    stateVersion: row.state_version,
    restarts: row.restarts,
    desired: row.desired,
    diverged: row.diverged,
    trapExit: row.trap_exit,
    gone: row.gone,
    ended: row.ended,
    exit: row.exit,
    wait: row.wait,
    owner: row.owner,
    ownerEpoch: row.owner_epoch,
    createdAt: row.created_at,
    sandbox: row.sandbox,
    branch: row.branch,
  }
}
