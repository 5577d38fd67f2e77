/**
 * Every table of the runtime, in Drizzle: the source of the migrations and of the archive's cold reads. The hot path is
 * hand-written SQL in postgres/; docs/tables.md explains each table in words.
 *
 * - V1: `namespace` is in every key that people choose; surrogates (`pid`, `ord`, node id) are unique in the schema.
 * - T6: payloads are text, never jsonb: key order and `\u0000` survive.
 * - F2: `nodes.epoch` has a unique index of its own, so that changing it takes the lock that waits for `for key share`,
 *   while a heartbeat, which changes no key column, waits for nobody.
 * - No foreign keys: each would add a lock per row to the hot path, and the head row already orders all writers.
 *
 * `tablesIn(null)` is unqualified: drizzle-kit reads it from the exports below, and the migrations it writes run under
 * a local search path (migrate.ts), so that one set of files serves every schema name.
 */
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  index,
  integer,
  pgSchema,
  pgSequence,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import type { AuditItem, DeadLetter, FailureRecord } from '../../shared/snapshot.ts'
import {
  bytes,
  type Columns,
  created,
  instant,
  type MakeTable,
  name,
  surrogate,
  surrogateNamed,
  xid8,
} from './column.ts'
import { choreTable, waypointTable } from './schema-keep.ts'
import type { JournalRow, NodeRow, ProcessRecord, RequestRow, TimerRow } from './store.ts'
import type { StreamRecord, StreamRow } from './stream.ts'

/** Schema of the tables where the option does not name another one. */
export const SCHEMA_DEFAULT = 'vivarium'

/** The version of `journal.payload`. A later format gets a new number, never a new meaning (V3). */
export const JOURNAL_FORMAT = 1

function nodeTable(table: MakeTable) {
  return table(
    'nodes',
    {
      id: surrogate().primaryKey().generatedAlwaysAsIdentity(),
      namespace: name().notNull(),
      epoch: surrogate().notNull(),
      name: text().notNull(),
      host: text().notNull(),
      bootId: text('boot_id').notNull(),
      osPid: integer('os_pid').notNull(),
      osStartedAt: text('os_started_at').notNull(),
      startedAt: timestamp('started_at', { withTimezone: true }).notNull().default(sql`now()`),
      leaseUntil: timestamp('lease_until', { withTimezone: true }).notNull(),
      capabilities: text().notNull(),
      /** The node once held its session lock: only then is a missing lock a proof of death (F6). */
      session: boolean().notNull().default(false),
      stoppedAt: timestamp('stopped_at', { withTimezone: true }),
    } satisfies Columns<NodeRow>,
    (t) => [
      uniqueIndex('nodes_epoch').on(t.epoch),
      index('nodes_live').on(t.namespace, t.id).where(sql`${t.stoppedAt} is null`),
    ],
  )
}

function processTable(table: MakeTable) {
  return table(
    'processes',
    {
      pid: surrogate().primaryKey().generatedAlwaysAsIdentity(),
      namespace: name().notNull(),
      id: name().notNull(),
      agent: name().notNull(),
      key: text().notNull(),
      kind: text().$type<ProcessRecord['kind']>().notNull(),
      parent: text(),
      incarnation: integer().notNull().default(1),
      /** 0 until the first claim says which version made the state. */
      stateVersion: integer('state_version').notNull().default(0),
      restarts: integer().notNull().default(0),
      desired: text().$type<ProcessRecord['desired']>().notNull().default('running'),
      diverged: boolean().notNull().default(false),
      /** Of the present incarnation (K35); an exit takes it away. */
      trapExit: boolean('trap_exit').notNull().default(false),
      /** The last incarnation ended and no other has begun: a monitor of it hears noproc. */
      gone: boolean().notNull().default(false),
      ended: boolean().notNull().default(false),
      exit: text(),
      owner: surrogate(),
      ownerEpoch: bigint('owner_epoch', { mode: 'number' }),
      /** The process of which it is a sandbox copy; null for every other one (E8). */
      sandbox: text(),
      /** Of what its turns derive, raised by a rewind (E3). */
      branch: surrogate().notNull().default(0),
      /** Given up with an open turn, or spawned and never begun: recovery takes it although no message waits. */
      open: boolean().notNull().default(false),
      /** What its parked turn waits for, which messages that turn can take, and the last position it was offered; null
       *  while a node runs it. */
      wait: text(),
      takes: text().array(),
      judged: surrogate(),
      createdAt: timestamp('created_at', { withTimezone: true }).notNull().default(sql`now()`),
    } satisfies Columns<ProcessRecord>,
    (t) => [
      uniqueIndex('processes_id').on(t.namespace, t.id),
      index('processes_owner')
        .on(t.namespace, t.owner, t.ownerEpoch)
        .where(sql`${t.owner} is not null and not ${t.ended}`),
      index('processes_open').on(t.namespace, t.id).where(sql`${t.open}`),
      index('processes_held')
        .on(t.namespace, t.id)
        .where(sql`not ${t.ended} and (${t.diverged} or ${t.desired} <> 'running')`),
    ],
  )
}

/** F1: the one row per process that every commit compares and sets. Narrow and half full: updates stay on the page. */
function headTable(table: MakeTable) {
  return table('heads', {
    process: surrogate().primaryKey(),
    seq: surrogate().notNull(),
    claim: surrogate().notNull(),
  })
}

function mailboxTable(table: MakeTable) {
  return table(
    'mailbox',
    {
      namespace: name().notNull(),
      target: name().notNull(),
      ord: surrogate().notNull(),
      id: text().notNull(),
      kind: text().notNull(),
      op: text().notNull(),
      sender: text(),
      n: integer().notNull(),
      args: text().notNull(),
      replyTo: text('reply_to'),
      cause: text(),
      root: text(),
      chain: text(),
      traceparent: text(),
      actor: text(),
      deadline: instant(),
      timerName: text('timer_name'),
      timerArm: integer('timer_arm'),
      attempts: integer().notNull().default(0),
      recoveries: integer().notNull().default(0),
      at: created(),
    },
    (t) => [primaryKey({ name: 'mailbox_pk', columns: [t.namespace, t.target, t.ord] })],
  )
}

function requestTable(table: MakeTable) {
  return table(
    'requests',
    {
      namespace: name().notNull(),
      scope: name().notNull(),
      key: name().notNull(),
      argsHash: text('args_hash').notNull(),
      process: text().notNull(),
      messageId: text('message_id').notNull(),
      status: text().$type<RequestRow['status']>().notNull().default('pending'),
      result: text(),
      /** Who hears of the result: JSON texts `[target, call]`; null while nobody waits. */
      waiters: text().array(),
      expiresAt: timestamp('expires_at', { withTimezone: true }),
      at: created(),
    } satisfies Columns<RequestRow>,
    (t) => [
      primaryKey({ name: 'requests_pk', columns: [t.namespace, t.scope, t.key] }),
      index('requests_at').on(t.namespace, t.at),
    ],
  )
}

function journalTable(table: MakeTable) {
  return table(
    'journal',
    {
      process: surrogate().notNull(),
      seq: surrogate().notNull(),
      claim: surrogate().notNull(),
      format: smallint().notNull().default(JOURNAL_FORMAT),
      stateVersion: integer('state_version').notNull(),
      codeVersion: text('code_version').notNull(),
      turnIds: text('turn_ids').array().notNull(),
      cause: text(),
      root: text(),
      traceparent: text(),
      actor: text(),
      at: created(),
      tx: xid8().notNull().default(sql`pg_current_xact_id()`),
      payload: text().notNull(),
    } satisfies Columns<JournalRow>,
    (t) => [primaryKey({ name: 'journal_pk', columns: [t.process, t.seq] })],
  )
}

function snapshotTable(table: MakeTable) {
  return table('snapshots', {
    process: surrogate().primaryKey(),
    seq: surrogate().notNull(),
    claim: surrogate().notNull(),
    stateVersion: integer('state_version').notNull(),
    value: text().notNull(),
    at: created(),
  })
}

function timerTable(table: MakeTable) {
  return table(
    'timers',
    {
      process: surrogate().notNull(),
      namespace: name().notNull(),
      target: text().notNull(),
      name: name().notNull(),
      arm: integer().notNull(),
      due: instant().notNull(),
      op: text().notNull(),
      args: text().notNull(),
      root: text(),
      traceparent: text(),
    } satisfies Columns<TimerRow>,
    (t) => [
      primaryKey({ name: 'timers_pk', columns: [t.process, t.name] }),
      index('timers_due').on(t.namespace, t.due),
    ],
  )
}

/** P3: one row per tie. A link stands once, smaller id first; a monitor from the watcher to the watched. */
function linkTable(table: MakeTable) {
  return table(
    'links',
    {
      namespace: name().notNull(),
      process: name().notNull(),
      peer: name().notNull(),
      kind: name().$type<'link' | 'monitor' | 'child'>().notNull(),
      ref: name().notNull(),
      /** Lives of both ends when the tie was made; null where the end is in no store, and for a child. An older one
       *  than the stored process has is a tie whose end was missed. */
      incarnation: integer(),
      peerIncarnation: integer('peer_incarnation'),
    },
    (t) => [
      primaryKey({ name: 'links_pk', columns: [t.namespace, t.process, t.kind, t.peer, t.ref] }),
      index('links_peer').on(t.namespace, t.peer),
    ],
  )
}

function nameTable(table: MakeTable) {
  return table('names', { namespace: name().notNull(), name: name().notNull(), process: name().notNull() }, (t) => [
    primaryKey({ name: 'names_pk', columns: [t.namespace, t.name] }),
    index('names_process').on(t.namespace, t.process),
  ])
}

function blobTable(table: MakeTable) {
  return table('blobs', {
    hash: text().primaryKey(),
    value: text().notNull(),
    touchedAt: timestamp('touched_at', { withTimezone: true }).notNull().default(sql`now()`),
  })
}

/** V4: who refers to a blob. A table of its own, because a column of the journal with an index to collect by would cost
 *  every plain turn the test of that index. */
function blobRefTable(table: MakeTable) {
  return table(
    'blob_refs',
    {
      process: surrogate().notNull(),
      /** True for the snapshot of the process, false for the row `seq` of its journal. */
      snapshot: boolean().notNull(),
      seq: surrogate().notNull(),
      hash: text().notNull(),
    },
    (t) => [
      primaryKey({ name: 'blob_refs_pk', columns: [t.process, t.snapshot, t.seq, t.hash] }),
      index('blob_refs_hash').on(t.hash),
    ],
  )
}

/** M8, F5: a stream and where it stands. `claim` is the newest one that wrote: an older one writes nothing. */
function streamTable(table: MakeTable) {
  return table(
    'streams',
    {
      id: surrogate().primaryKey().generatedAlwaysAsIdentity(),
      namespace: name().notNull(),
      path: name().notNull(),
      /** Of the agent that writes it; null for one that is written over HTTP. */
      process: surrogate(),
      claim: surrogate().notNull().default(0),
      contentType: text('content_type').notNull(),
      config: text().notNull(),
      tail: surrogate().notNull().default(0),
      floor: surrogate().notNull().default(0),
      bytes: surrogate().notNull().default(0),
      closed: boolean().notNull().default(false),
      closedBy: text('closed_by'),
      writerSeq: text('writer_seq'),
      ttlS: surrogateNamed('ttl_s'),
      expiresAt: timestamp('expires_at', { withTimezone: true }),
      forkOf: surrogateNamed('fork_of'),
      gone: boolean().notNull().default(false),
      createdAt: timestamp('created_at', { withTimezone: true }).notNull().default(sql`now()`),
      touchedAt: timestamp('touched_at', { withTimezone: true }).notNull().default(sql`now()`),
    } satisfies Columns<StreamRow>,
    (t) => [
      uniqueIndex('streams_path').on(t.namespace, t.path),
      index('streams_process').on(t.process).where(sql`${t.process} is not null`),
      index('streams_fork_of').on(t.forkOf).where(sql`${t.forkOf} is not null`),
    ],
  )
}

function streamRecordTable(table: MakeTable) {
  return table(
    'stream_records',
    {
      stream: surrogate().notNull(),
      pos: surrogate().notNull(),
      data: bytes().notNull(),
      reset: boolean().notNull().default(false),
      turn: text(),
      step: text(),
      attempt: integer().notNull().default(1),
      at: created(),
    } satisfies Columns<StreamRecord>,
    (t) => [primaryKey({ name: 'stream_records_pk', columns: [t.stream, t.pos] })],
  )
}

function streamProducerTable(table: MakeTable) {
  return table(
    'stream_producers',
    {
      stream: surrogate().notNull(),
      producer: name().notNull(),
      epoch: surrogate().notNull(),
      seq: surrogate().notNull(),
    },
    (t) => [primaryKey({ name: 'stream_producers_pk', columns: [t.stream, t.producer] })],
  )
}

function failureTable(table: MakeTable) {
  return table(
    'failures',
    {
      namespace: name().notNull(),
      id: name().notNull(),
      process: name().notNull(),
      incarnation: integer().notNull(),
      at: created(),
      class: text().notNull(),
      error: text().notNull(),
      attempt: integer().notNull(),
      messageId: text('message_id'),
      op: text(),
      decision: text().notNull(),
      box: text().notNull(),
    } satisfies Columns<FailureRecord>,
    (t) => [
      primaryKey({ name: 'failures_pk', columns: [t.namespace, t.id] }),
      index('failures_at').on(t.namespace, t.at),
      index('failures_process').on(t.namespace, t.process, t.at),
    ],
  )
}

function deadLetterTable(table: MakeTable) {
  return table(
    'dead_letters',
    {
      namespace: name().notNull(),
      id: name().notNull(),
      process: name().notNull(),
      messageId: text('message_id').notNull(),
      op: text().notNull(),
      args: text().notNull(),
      from: text(),
      at: created(),
      reason: text().notNull(),
      failureId: text('failure_id'),
      redeliveredAt: timestamp('redelivered_at', { withTimezone: true }),
    } satisfies Columns<DeadLetter>,
    (t) => [
      primaryKey({ name: 'dead_letters_pk', columns: [t.namespace, t.id] }),
      index('dead_letters_at').on(t.namespace, t.at),
      index('dead_letters_process').on(t.namespace, t.process, t.at),
    ],
  )
}

function auditTable(table: MakeTable) {
  return table(
    'audit',
    {
      id: surrogate().primaryKey().generatedAlwaysAsIdentity(),
      namespace: name().notNull(),
      at: created(),
      actor: text().notNull(),
      verb: text().notNull(),
      target: name().notNull(),
      reason: text(),
      outcome: text().notNull(),
      detail: text().notNull(),
    } satisfies Columns<AuditItem>,
    (t) => [index('audit_id').on(t.namespace, t.id), index('audit_target').on(t.namespace, t.target, t.id)],
  )
}

/** The tables of one Postgres schema; null leaves the names unqualified. */
export function tablesIn(schema: string | null) {
  // Both makers have one signature but for a phantom type parameter that says which schema the table is in.
  const make = schema === null ? pgTable : (pgSchema(schema).table as unknown as MakeTable)
  return {
    nodes: nodeTable(make),
    processes: processTable(make),
    heads: headTable(make),
    mailbox: mailboxTable(make),
    requests: requestTable(make),
    journal: journalTable(make),
    snapshots: snapshotTable(make),
    waypoints: waypointTable(make),
    chores: choreTable(make),
    timers: timerTable(make),
    links: linkTable(make),
    names: nameTable(make),
    blobs: blobTable(make),
    blobRefs: blobRefTable(make),
    streams: streamTable(make),
    streamRecords: streamRecordTable(make),
    streamProducers: streamProducerTable(make),
    failures: failureTable(make),
    deadLetters: deadLetterTable(make),
    audit: auditTable(make),
  }
}

export type Tables = ReturnType<typeof tablesIn>

/** What drizzle-kit reads. `cache` is 1 everywhere: numbers rise in the order in which connections take them (M5). */
export const epochs = pgSequence('epochs', { cache: 1 })
export const claims = pgSequence('claims', { cache: 1 })
export const ords = pgSequence('ords', { cache: 1 })
export const {
  nodes,
  processes,
  heads,
  mailbox,
  requests,
  journal,
  snapshots,
  waypoints,
  chores,
  timers,
  links,
  names,
  blobs,
  blobRefs,
  streams,
  streamRecords,
  streamProducers,
  failures,
  deadLetters,
  audit,
} = tablesIn(null)
