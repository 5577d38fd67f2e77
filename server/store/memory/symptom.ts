/** The facts the doctor asks for, on memory: the answers of postgres/symptom.ts. */
import { COUNT_MAX, LOOP_FAILURES, LOOP_MS, OVERDUE_MS, type Symptoms, UNOWNED_MS } from '../../../shared/doctor.ts'
import { PSEUDO_AGENTS, splitId } from '../../../shared/id.ts'
import type { Wait } from '../../../shared/snapshot.ts'
import type { MemoryDatabase, StoredProcess } from './database.ts'
import { isParkedFor } from './node.ts'

/** Rows as on Postgres. */
const ROWS_MAX = 200

export function symptoms(db: MemoryDatabase, namespace: string): Symptoms {
  const now = db.clock.now()
  const here = [...db.processes.values()].filter((row) => row.namespace === namespace && !row.ended)
  const pending = (id: string): number => Math.min(db.box(namespace, id)?.size ?? 0, COUNT_MAX)
  const held = here.filter((row) => row.diverged || row.desired !== 'running')
  const open = here.filter((row) => row.open && row.owner === null && row.desired === 'running' && row.kind === 'agent')
  const lists: Omit<Symptoms, 'now' | 'cut'> = {
    mail: mail(db, namespace, now),
    open: open
      .map((row) => ({ process: row.id, at: lastAt(db, row), stateVersion: row.stateVersion }))
      .filter((row) => row.at < now - UNOWNED_MS),
    held: held
      .map(({ id, desired, diverged, open: given }) => ({
        ...{ process: id, desired, diverged, open: given },
        pending: pending(id),
      }))
      .sort((a, b) => (a.process < b.process ? -1 : 1)),
    timers: [...db.timers.values()]
      .flatMap((timers) => [...timers.values()])
      .filter((timer) => timer.namespace === namespace && timer.due < now - OVERDUE_MS)
      .sort((a, b) => a.due - b.due)
      .map(({ target, name, due }) => ({ process: target, name, due })),
    claims: claims(here.filter((row) => row.owner !== null && !db.ownerAlive(row))),
    loops: loops(db, namespace, now),
    blobs: [...db.blobRefs].flatMap(([pid, refs]) => {
      const process = db.processes.get(pid)
      if (process?.namespace !== namespace) return []
      const lost = refs.filter((ref) => !db.blobs.has(ref.hash))
      return lost.map(({ seq, hash }) => ({ process: process.id, seq, hash }))
    }),
  }
  const cut = Object.entries(lists).flatMap(([check, rows]) =>
    rows.length < ROWS_MAX ? [] : [{ check, reason: `there are more than ${ROWS_MAX}` }],
  )
  const short = Object.entries(lists).map(([check, rows]) => [check, rows.slice(0, ROWS_MAX)])
  return { ...lists, ...Object.fromEntries(short), now, cut }
}

function mail(db: MemoryDatabase, namespace: string, now: number): Symptoms['mail'] {
  const start = `${namespace}\u0000`
  const targets = [...db.mailbox.keys()].filter((key) => key.startsWith(start)).map((key) => key.slice(start.length))
  const found = targets.sort().flatMap((process) => {
    const [first] = db.box(namespace, process)?.values() ?? []
    if (first === undefined || PSEUDO_AGENTS.has(splitId(process).agent)) return []
    const { op, at, deadline, attempts } = first
    if (at >= now - UNOWNED_MS && (deadline === null || deadline >= now)) return []
    const row = db.find(namespace, process)
    const owner = row !== undefined && db.ownerAlive(row) ? (db.nodes.get(row.owner ?? 0)?.name ?? null) : null
    const { desired = 'running', diverged = false, ended = false, stateVersion = 0 } = row ?? {}
    const pending = Math.min(db.box(namespace, process)?.size ?? 0, COUNT_MAX)
    const parked = row?.wait != null && isParkedFor(db, row) ? (JSON.parse(row.wait) as Wait) : null
    return [{ process, op, at, deadline, attempts, pending, owner, desired, diverged, ended, stateVersion, parked }]
  })
  const inHand = (mail: Symptoms['mail'][number]) => Number(mail.owner !== null || mail.parked !== null)
  return found.sort((a, b) => inHand(a) - inHand(b) || a.at - b.at)
}

function lastAt(db: MemoryDatabase, row: StoredProcess): number {
  return db.journal.get(row.pid)?.at(-1)?.at ?? row.createdAt
}

function claims(left: readonly StoredProcess[]): Symptoms['claims'] {
  const groups = Map.groupBy(left, (row) => `${row.owner} ${row.ownerEpoch}`)
  return [...groups.values()].map((rows) => ({
    node: rows[0]?.owner ?? 0,
    example: rows.map((row) => row.id).sort()[0] ?? '',
    processes: Math.min(rows.length, COUNT_MAX),
  }))
}

function loops(db: MemoryDatabase, namespace: string, now: number): Symptoms['loops'] {
  const recent = [...db.failures.values()].filter((row) => row.namespace === namespace && row.at > now - LOOP_MS)
  return [...Map.groupBy(recent, (row) => row.process)]
    .filter(([, rows]) => rows.length >= LOOP_FAILURES)
    .map(([process, rows]) => {
      const byAge = rows.toSorted((a, b) => a.at - b.at)
      const error = byAge.at(-1)?.error.message ?? ''
      return { process, failures: rows.length, since: byAge[0]?.at ?? now, error }
    })
    .sort((a, b) => b.failures - a.failures)
}
