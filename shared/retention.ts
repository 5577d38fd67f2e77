/**
 * How long what happened stays readable. Work is never pruned: only rows that no activation reads, and records of what
 * is over.
 */

const DAY_MS = 24 * 60 * 60 * 1_000

/** Of an agent that says nothing: a month, and as many rows as an hour of thirty turns a second. */
export const RETENTION_AGE_MS = 30 * DAY_MS
export const RETENTION_ROWS = 100_000

/** Rows between two waypoints, the snapshots that stay: a state of the past is read from about this many. */
export const WAYPOINT_ROWS = 1_000

/** Ms that records of what is over are kept. A dead letter is work somebody may want; an audit is asked for late. */
export const DEAD_LETTER_MS = 90 * DAY_MS
export const FAILURE_MS = 30 * DAY_MS
export const AUDIT_MS = 365 * DAY_MS
/** Of a node that stopped or was declared dead. */
export const NODE_MS = 7 * DAY_MS
/** Of a finished request: so long the same idempotency key finds its result. */
export const REQUEST_MS = 30 * DAY_MS

/** Null keeps for ever. A row goes when either limit says so. */
export type Retention = { readonly maxAgeMs: number | null; readonly maxRows: number | null }
export const RETENTION_DEFAULT: Retention = { maxAgeMs: RETENTION_AGE_MS, maxRows: RETENTION_ROWS }

export type PruneStep = {
  /** Agents that are pruned; those of other nodes' code are left to them. */
  policies: readonly (Retention & { agent: string })[]
  /** Snapshots looked at, and journal rows deleted at the most. */
  processes: number
  rows: number
  /** Ms for which this node is the one that prunes. */
  leaseMs: number
}
/** `over`: every process was looked at. */
export type Pruned = { rows: number; waypoints: number; over: boolean }

export const SWEPT = ['deadLetters', 'failures', 'audit', 'requests', 'nodes'] as const
/** Rows taken away, by table. */
export type Swept = { [table in (typeof SWEPT)[number]]: number }
