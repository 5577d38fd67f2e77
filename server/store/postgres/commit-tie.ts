/**
 * Ties and names in a commit, and what the end of an incarnation makes of them (PROTOCOL P3).
 *
 * - A tie is stored with the lives of its ends as this statement sees them. Nothing is locked for it: a peer that ends
 *   at the same time is found afterwards (sweep-ties.ts), since its stored life is a later one.
 * - An end cuts the ties of its process and tells the other ends in this very statement. Rows are deleted before they
 *   are told of, so of two ends of one link, and of an end and a demonitor, one finds the row.
 * - A child (P9) is tied to all lives of both ends: only the last end cuts that, and tells the child, whichever life it
 *   is in by then.
 */
import { CLOSED, linkEnds, netLinks, netNames } from '../change.ts'
import { ANY_LIFE, type Commit, type LinkChange } from '../store.ts'
import { among, type Item, type Section } from './section.ts'
import { DOWN_OR_EXIT, signalInsert } from './tie-signal.ts'

const link: Section = {
  key: 'link',
  columns: 'process text, peer text, kind text, ref text, self text, other text, ephemeral boolean, born int',
  items: (commit) =>
    netLinks(commit.links ?? []).flatMap((change): Item[] =>
      change.kind === 'unlink' || change.kind === 'demonitor' ? [] : [tieItem(commit, change)],
    ),
  // A peer that does not exist has life 0, one that this commit spawns has life 1 and is not visible here. A link that
  // is there already, of lives that are over and that nobody found out about yet, is of the present ones from now on.
  sql: (q, rows) => `
    insert into ${q}links as known (namespace, process, peer, kind, ref, incarnation, peer_incarnation)
    select distinct on (x.process, x.peer, x.kind, x.ref) $3::text, x.process, x.peer, x.kind, x.ref,
      case when x.kind = 'child' then null when x.self = x.process then me.life else it.life end,
      case when x.kind = 'child' then null when x.self = x.process then it.life else me.life end
    from ${rows} x
    cross join lateral (select p.incarnation as life from ${q}processes p where p.pid = x.pid offset 0) me
    cross join lateral (
      select case when x.ephemeral then null else coalesce((
        select p.incarnation from ${q}processes p where p.namespace = $3::text and p.id = x.other), x.born)
      end as life offset 0) it
    order by x.process, x.peer, x.kind, x.ref
    on conflict (namespace, process, kind, peer, ref) do update
      set incarnation = excluded.incarnation, peer_incarnation = excluded.peer_incarnation
      where known.kind = 'link' and (excluded.incarnation > known.incarnation
        or excluded.peer_incarnation > known.peer_incarnation)`,
}

function tieItem(commit: Commit, change: Extract<LinkChange, { kind: 'link' | 'monitor' | 'child' }>): Item {
  if (change.kind === 'child') {
    const ends = { process: change.peer, peer: commit.id, self: commit.id, other: change.peer }
    return { ...ends, kind: 'child', ref: '', ephemeral: true, born: 0 }
  }
  const isLink = change.kind === 'link'
  const [process, peer] = isLink ? linkEnds(commit.id, change.peer) : [commit.id, change.peer]
  const born = commit.spawns?.some((child) => child.id === change.peer) === true ? 1 : 0
  const ref = isLink ? '' : change.ref
  const ephemeral = change.ephemeral === true
  return { process, peer, kind: change.kind, ref, self: commit.id, other: change.peer, ephemeral, born }
}

const unlink: Section = {
  key: 'unlink',
  columns: 'process text, peer text, kind text, ref text',
  items: (commit) =>
    netLinks(commit.links ?? []).flatMap((change): Item[] => {
      // A demonitor knows the reference only.
      if (change.kind === 'demonitor') return [{ process: commit.id, peer: null, kind: 'monitor', ref: change.ref }]
      if (change.kind !== 'unlink') return []
      const [process, peer] = linkEnds(commit.id, change.peer)
      return [{ process, peer, kind: 'link', ref: '' }]
    }),
  sql: (q, rows) => `
    delete from ${q}links t using ${rows} x
    where t.namespace = $3::text and t.process = x.process and t.kind = x.kind and t.ref = x.ref
      and (x.peer is null or t.peer = x.peer) and ${among('t.process', rows, 'process')}`,
}

const register: Section = {
  key: 'register',
  columns: 'process text, name text',
  items: (commit) => nameItems(commit, 'register'),
  // A name of another process violates the primary key: class 23, and the committer finds the culprit (C2).
  sql: (q, rows) => `
    insert into ${q}names (namespace, name, process)
    select $3::text, x.name, x.process from ${rows} x
    where x.process is distinct from
      (select o.process from ${q}names o where o.namespace = $3::text and o.name = x.name)`,
}

const unregister: Section = {
  key: 'unregister',
  columns: 'process text, name text',
  items: (commit) => nameItems(commit, 'unregister'),
  sql: (q, rows) => `
    delete from ${q}names t using ${rows} x
    where t.namespace = $3::text and t.name = x.name and t.process = x.process and ${among('t.name', rows, 'name')}`,
}

function nameItems(commit: Commit, kind: 'register' | 'unregister'): Item[] {
  const changes = netNames(commit.names ?? []).filter((change) => change.kind === kind)
  return changes.map(({ name }) => ({ process: commit.id, name }))
}

const end: Section = {
  key: 'ended',
  columns: 'process text, incarnation int, reason text, last boolean',
  told: 'ended_told',
  items: (commit) => (commit.ends ?? []).slice(-1).map((item) => ({ last: false, ...item, process: commit.id })),
  between: (q, rows, sends) => [
    `ended_names as (
    delete from ${q}names t using ${rows} x
    where t.namespace = $3::text and t.process = x.process and ${among('t.process', rows, 'process')})`,
    `ended_places as materialized (
    select t.place from ${rows} x
    cross join lateral (
      (select l.ctid as place from ${q}links l where l.namespace = $3::text and l.process = x.process
         and (x.last or l.kind <> 'child') offset 0)
      union all
      (select l.ctid from ${q}links l where l.namespace = $3::text and l.peer = x.process
         and (x.last or l.kind <> 'child') offset 0)) t)`,
    `ended_ties as (
    delete from ${q}links t where t.ctid = any(array(select place from ended_places))
    returning t.process, t.peer, t.kind, t.ref, t.incarnation, t.peer_incarnation)`,
    `ended_told as materialized (
    select nextval('${q}ords') as ord, s.* from (
      select x.pid, c.process as target, case c.kind when 'child' then ${ANY_LIFE} else c.incarnation end as life,
        x.process as sender, x.incarnation,
        case c.kind when 'child' then '${CLOSED}' else x.reason end as reason, c.ref,
        ${DOWN_OR_EXIT} from ended_ties c join ${rows} x on x.process = c.peer
      union all
      select x.pid, c.peer, c.peer_incarnation, x.process, x.incarnation, x.reason, c.ref,
        ${DOWN_OR_EXIT} from ended_ties c join ${rows} x on x.process = c.process where c.kind = 'link'
      order by target, ref) s
    where s.life is not null and s.target not in (select process from ${rows}) ${sends ? AFTER_SENT : ''})`,
  ],
  sql: (q) => signalInsert(q, 'ended_told'),
}

/** K25: what the process sent before its end has the lower numbers. A scalar subquery is computed before any row. */
const AFTER_SENT = 'and (select count(*) from sent) >= 0'

export const TIE_SECTIONS: readonly Section[] = [link, unlink, register, unregister, end]
