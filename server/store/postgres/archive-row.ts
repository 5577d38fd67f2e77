/** Rows as Drizzle reads them, in the shapes of the interfaces. Texts are JSON that this store wrote itself. */
import type { ErrorData } from '../../../shared/error.ts'
import type { AuditItem, BlackBox, DeadLetter, FailureRecord } from '../../../shared/snapshot.ts'
import { decode } from '../../../shared/value.ts'
import type { Tables } from '../schema.ts'
import type { JournalRow, MessageKind, MessageRow, ProcessRecord, ReplyAddress } from '../store.ts'

type Row<K extends keyof Tables> = Tables[K]['$inferSelect']

export function recordOf(row: Row<'processes'>): ProcessRecord {
  const { namespace: _namespace, open: _open, takes: _takes, judged: _judged, createdAt, ...record } = row
  return { ...record, createdAt: createdAt.getTime() }
}

export function journalItem(row: Row<'journal'>): JournalRow {
  const { process: _process, format: _format, tx: _tx, at, ...rest } = row
  return { ...rest, at: at.getTime() }
}

export function mailboxItem(row: Row<'mailbox'>): MessageRow {
  const { namespace: _namespace, timerName, timerArm, at, deadline, ...rest } = row
  return {
    ...rest,
    kind: row.kind as MessageKind, // the column holds nothing else: only this store writes it
    replyTo: row.replyTo === null ? null : (JSON.parse(row.replyTo) as ReplyAddress),
    chain: row.chain === null ? [] : (JSON.parse(row.chain) as string[]),
    timer: timerName === null || timerArm === null ? null : { name: timerName, arm: timerArm },
    deadline: deadline?.getTime() ?? null,
    at: at.getTime(),
  }
}

export function failureRecord(row: Row<'failures'>): FailureRecord {
  const { namespace: _namespace, at, error, box, ...rest } = row
  return { ...rest, at: at.getTime(), error: JSON.parse(error) as ErrorData, box: JSON.parse(box) as BlackBox }
}

export function deadLetter(row: Row<'deadLetters'>): DeadLetter {
  const { namespace: _namespace, at, redeliveredAt, args, ...rest } = row
  return { ...rest, at: at.getTime(), redeliveredAt: redeliveredAt?.getTime() ?? null, args: decode(args) }
}

export function auditItem(row: Row<'audit'>): AuditItem {
  const { namespace: _namespace, id, at, detail, ...rest } = row
  return { ...rest, id: String(id), at: at.getTime(), detail: JSON.parse(detail) }
}
