/**
 * `down` and `exit` rows: what the end of a tie leaves in the mailbox of its other end. Both stores write the same
 * bodies; journal/tie-signal.ts reads them.
 *
 * - `to` is the life of the receiver the tie belonged to: a later one has no such tie and drops the row.
 */

/** Kind of the row for a tie `c`. */
export const DOWN_OR_EXIT = `case c.kind when 'monitor' then 'down' else 'exit' end as kind`

/** Stores `rows`: ord, target, life, sender, incarnation, reason (text of an ExitReason), ref, kind. */
export function signalInsert(q: string, rows: string): string {
  return `
    insert into ${q}mailbox (namespace, target, ord, id, kind, op, sender, n, args)
    select $3::text, s.target, s.ord, s.kind || '/' || s.sender || '/' || s.incarnation || '/' || s.ord, s.kind, s.kind,
      s.sender, 0,
      case s.kind
        when 'down' then '{"ref":' || to_json(s.ref)::text || ',"process":' || to_json(s.sender)::text
        else '{"from":' || to_json(s.sender)::text
      end || ',"incarnation":' || s.incarnation || ',"reason":' || s.reason || ',"to":' || s.life || '}'
    from ${rows} s`
}
