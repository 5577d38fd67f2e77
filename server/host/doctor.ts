/**
 * The doctor: which work does not go on by itself, why, and what to do. Reads tables and live rows; changes nothing.
 *
 * - Of what this node runs the live rows speak, of everything else the tables: a process in memory that waits long is
 *   waiting, one in the tables that nobody owns is lost work.
 * - Works without a runtime as well (diagnoseStore): then whatever waits needs a node.
 */
import {
  type Diagnosis,
  type DoctorNode,
  type Finding,
  SEVERITY_RANK,
  type Symptoms,
  WAITING_MS,
} from '../../shared/doctor.ts'
import { type ProcessId, RUNTIME_AGENTS, splitId } from '../../shared/id.ts'
import type { DeadLetter, Need, ProcessStatus } from '../../shared/snapshot.ts'
import type { NodeRow, StoreHandle } from '../store/store.ts'

/** What the doctor knows of this node; null where no runtime runs here. */
export type Living = {
  name: string
  status(id: ProcessId): ProcessStatus | null
  /** Everything but dead letters. */
  needs: readonly Need[]
}

const FINDINGS_MAX = 1_000
/** Dead letters that are looked at: the newest. */
const LETTERS_MAX = 100

const START = 'viv start MODULE... with the modules of its agents'
const RUNTIME_STATE = 'viv inspect vivarium/recovery state'

/** What the tables say. */
export type DoctorFacts = { symptoms: Symptoms; nodes: readonly DoctorNode[]; letters: readonly DeadLetter[] }

export async function doctorFacts({ archive, store }: StoreHandle, namespace: string): Promise<DoctorFacts> {
  const symptoms = await archive.symptoms(namespace)
  const rows = await store.nodes(namespace)
  const letters = await archive.deadLetters(namespace, { limit: LETTERS_MAX })
  return { symptoms, nodes: rows.map((row) => doctorNode(row, symptoms.now)), letters }
}

export function diagnose(facts: DoctorFacts, living: Living | null): Diagnosis {
  const { symptoms, nodes, letters } = facts
  const live = nodes.filter((node) => node.state === 'live')
  const needs = (living?.needs ?? []).filter(isWork)
  const found = [
    ...noNode(symptoms, live),
    ...symptoms.mail.flatMap((mail) => ofMail(mail, { now: symptoms.now, live, living })),
    ...symptoms.open.map((open) => ofOpen(open, live)),
    ...needs.filter(({ kind }) => kind === 'suspended').map(ofNeed),
    ...symptoms.held.flatMap(ofHeld),
    ...symptoms.timers.map((timer) => ofTimer(timer, live)),
    ...symptoms.claims.map((claim) => ofClaim(claim, live)),
    ...nodes.filter((node) => node.state === 'dead').map(ofNode),
    ...needs.filter(({ kind }) => kind !== 'suspended').map(ofNeed),
    ...symptoms.loops.map(ofLoop),
    ...symptoms.blobs.map(ofBlob),
    ...ofLetters(letters),
    ...symptoms.cut.map(ofCut),
  ]
  const findings = merged(found).sort(
    (a, b) => SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity] || (a.since ?? 0) - (b.since ?? 0),
  )
  const ok = findings.every((finding) => finding.severity === 'notice')
  return { at: symptoms.now, ok, findings: findings.slice(0, FINDINGS_MAX) }
}

function doctorNode(row: NodeRow, now: number): DoctorNode {
  const { name, leaseUntil, capabilities } = row
  return { name, leaseUntil, capabilities, state: nodeState(row, now) }
}

/** @param now  by the clock of the store */
export function nodeState({ stoppedAt, leaseUntil }: NodeRow, now: number): DoctorNode['state'] {
  return stoppedAt !== null ? 'stopped' : leaseUntil < now ? 'dead' : 'live'
}

/** One finding per process and kind: the tables and the live rows may tell the same. The later one knows more. */
function merged(found: readonly Finding[]): Finding[] {
  const byKey = new Map<string, Finding>()
  for (const finding of found) {
    byKey.set(finding.process === null ? finding.why : `${finding.kind} ${finding.process}`, finding)
  }
  return [...byKey.values()]
}

function noNode({ mail, open, timers }: Symptoms, live: readonly DoctorNode[]): Finding[] {
  const waiting = mail.length + open.length + timers.length
  if (live.length > 0 || waiting === 0) return []
  const why = `No node runs; ${waiting} processes and timers wait for one.`
  return [{ kind: 'no-node', severity: 'critical', process: null, since: null, why, todo: START }]
}

/** Why nobody took it, in words. */
function unowned(agent: string, version: number, live: readonly DoctorNode[]): { why: string; todo: string } {
  if (live.length === 0) return { why: 'no node runs', todo: START }
  const able = live.filter(({ capabilities }) => knows(capabilities, agent, version))
  if (able.length > 0) {
    const names = able.map((node) => node.name).join(', ')
    return { why: `recovery of ${names} did not take it`, todo: `${RUNTIME_STATE}, then look at the log of ${names}` }
  }
  const lower = live.some(({ capabilities }) => agent in capabilities)
  if (!lower) return { why: `no live node has the agent ${agent}`, todo: `${START}; ${agent} is missing` }
  return {
    why: `its state has version ${version}, newer than the code of every live node`,
    todo: 'deploy the newer code',
  }
}

function knows(capabilities: Record<string, number>, agent: string, version: number): boolean {
  if (Object.keys(capabilities).length === 0 || RUNTIME_AGENTS.has(agent)) return true
  return (capabilities[agent] ?? -1) >= version
}

type Around = { now: number; live: readonly DoctorNode[]; living: Living | null }

function ofMail(mail: Symptoms['mail'][number], { now, live, living }: Around): Finding[] {
  const { process, op, at: since, deadline, attempts, pending, owner, desired, diverged, ended } = mail
  const messages = `${pending} message${pending === 1 ? '' : 's'}, the oldest "${op}"${
    attempts > 0 ? ` after ${attempts} attempts` : ''
  }`
  if (ended) {
    const why = `${process} ended for good and has ${messages}; no message wakes it.`
    return [{ kind: 'stopped', severity: 'warning', process, since, why, todo: `viv restart ${process}` }]
  }
  // Diverged, suspended and stopped ones are told of as held.
  if (diverged || desired !== 'running') return []
  const { parked } = mail
  if (parked !== null) {
    // One of them is that of the turn itself.
    if (now - since < WAITING_MS || pending < 2) return []
    const waits = [parked.kind, parked.target ?? ''].join(' ').trim()
    const why = `${process} waits for ${waits} and has ${messages}; none of them wakes it.`
    return [{ kind: 'waiting', severity: 'notice', process, since: parked.since, why, todo: `viv inspect ${process}` }]
  }
  if (deadline !== null && deadline < now && living?.status(process) == null) {
    const why = `${process} did not begin "${op}" before its deadline; it has ${messages}.`
    const todo =
      owner === null ? unowned(splitId(process).agent, mail.stateVersion, live).todo : `viv inspect ${process}`
    return [{ kind: 'deadline', severity: 'warning', process, since: deadline, why, todo }]
  }
  if (owner === null) {
    const { why, todo } = unowned(splitId(process).agent, mail.stateVersion, live)
    return [
      {
        kind: 'unowned',
        severity: 'critical',
        process,
        since,
        why: `Nobody owns ${process}, which has ${messages}: ${why}.`,
        todo,
      },
    ]
  }
  if (now - since < WAITING_MS) return []
  if (owner === living?.name) {
    // Busy, waiting and restarting ones are at it; the live rows say what they wait for.
    const status = living.status(process)
    if (status !== 'idle' && status !== null) return []
    const why = `${process} is ${status ?? 'not in memory'} on its owner ${owner} and has ${messages}.`
    return [{ kind: 'stale', severity: 'critical', process, since, why, todo: `viv restart ${process}` }]
  }
  const why = `${process} has ${messages}; its owner is ${owner}.`
  return [{ kind: 'stale', severity: 'notice', process, since, why, todo: `viv inspect ${process} --url of ${owner}` }]
}

function ofOpen({ process, at, stateVersion }: Symptoms['open'][number], live: readonly DoctorNode[]): Finding {
  const { why, todo } = unowned(splitId(process).agent, stateVersion, live)
  const text = `Nobody owns ${process}, which has begun and not ended a turn: ${why}.`
  return { kind: 'unowned', severity: 'critical', process, since: at, why: text, todo }
}

function ofHeld({ process, desired, diverged, open, pending }: Symptoms['held'][number]): Finding[] {
  const work = `${pending} messages wait${open ? ' and a turn is open' : ''}`
  const busy = pending > 0 || open
  if (diverged) {
    const why = `${process} is parked: its code asked for other steps than its journal holds; ${work}.`
    const todo =
      `deploy code that fits its journal (viv inspect ${process} journal), then viv resume ${process}; ` +
      `or viv retry ${process}, or viv skip ${process}`
    return [{ kind: 'diverged', severity: 'critical', process, since: null, why, todo }]
  }
  const kind = desired === 'stopped' ? 'stopped' : 'suspended'
  const todo = kind === 'stopped' ? `viv restart ${process}` : `viv resume ${process}`
  const why = `${process} was ${kind} by an operator; ${work}.`
  return [{ kind, severity: busy ? 'warning' : 'notice', process, since: null, why, todo }]
}

function ofTimer({ process, name, due }: Symptoms['timers'][number], live: readonly DoctorNode[]): Finding {
  const why = `Timer "${name}" of ${process} is due and was not fired${live.length === 0 ? ': no node runs' : ''}.`
  const todo = live.length === 0 ? START : 'viv inspect vivarium/timers state, then look at the log of the nodes'
  return { kind: 'overdue', severity: 'critical', process, since: due, why, todo }
}

function ofClaim({ node, example, processes }: Symptoms['claims'][number], live: readonly DoctorNode[]): Finding {
  const why = `Node ${node} is dead and still owns ${processes} processes, ${example} among them.`
  const todo =
    live.length === 0 ? START : `${RUNTIME_STATE}; a live node takes them within seconds if it has their code`
  return { kind: 'dead-node', severity: 'critical', process: null, since: null, why, todo }
}

function ofNode({ name, leaseUntil }: DoctorNode): Finding {
  const why = `Node ${name} stopped renewing its lease and was not declared dead.`
  const todo = 'start a node on the same database: it takes over after one lease'
  return { kind: 'dead-node', severity: 'warning', process: null, since: leaseUntil, why, todo }
}

function ofLoop({ process, failures, since, error }: Symptoms['loops'][number]): Finding {
  const why = `${process} failed ${failures} times since then, the last time with: ${error}`
  return { kind: 'loop', severity: 'warning', process, since, why, todo: `viv inspect ${process} failures` }
}

function ofBlob({ process, seq, hash }: Symptoms['blobs'][number]): Finding {
  const why = `Row ${seq} of ${process} refers to the large value ${hash}, which is gone; it cannot be activated.`
  const todo = 'restore this row of the table blobs from a backup'
  return { kind: 'blob-missing', severity: 'critical', process, since: null, why, todo }
}

function ofLetters(letters: readonly DeadLetter[]): Finding[] {
  const open = letters.filter((letter) => letter.redeliveredAt === null)
  return [...Map.groupBy(open, (letter) => letter.process)].map(([process, own]): Finding => {
    const [last] = own
    const why = `${process} has ${own.length} dead letters, the last "${last?.op}": ${last?.reason}`
    const todo = `mend the cause, then POST /api/v1/dead-letters/${encodeURIComponent(last?.id ?? '')}/redeliver`
    return { kind: 'dead-letter', severity: 'warning', process, since: Math.min(...own.map(({ at }) => at)), why, todo }
  })
}

type WorkNeed = Need & { kind: Exclude<Need['kind'], 'thread'> }

/** A thread that was held works on by itself. */
function isWork(need: Need): need is WorkNeed {
  return need.kind !== 'thread'
}

function ofNeed({ kind, severity, process, since, text: why }: WorkNeed): Finding {
  const id = process ?? ''
  const at = { severity, process, since, why }
  switch (kind) {
    case 'stuck':
      return {
        ...at,
        kind: 'waiting',
        todo: `viv inspect ${id}; viv restart ${id} goes on, viv retry ${id} begins its turn again`,
      }
    case 'crash-loop':
      return { ...at, kind: 'loop', todo: `viv inspect ${id} failures` }
    case 'diverged':
      return {
        ...at,
        kind,
        todo:
          `deploy code that fits its journal (viv inspect ${id} journal), then viv resume ${id}; ` +
          `or viv retry ${id}, or viv skip ${id}`,
      }
    case 'suspended':
      return { ...at, kind, todo: `viv resume ${id}` }
    case 'gave-up':
      return { ...at, kind, todo: `mend the cause, then viv restart ${id}` }
    case 'near-limit':
      return { ...at, kind, todo: `viv inspect ${id}` }
    case 'mailbox':
      return { ...at, kind, todo: `viv inspect ${id} mailbox; send slower or raise mailbox.limit` }
    case 'store':
      return { ...at, kind, todo: 'bring the database up' }
    case 'dead-letter':
      return { ...at, kind, todo: `viv inspect ${id} failures` }
    default:
      return kind satisfies never
  }
}

function ofCut({ check, reason, minor }: Symptoms['cut'][number]): Finding {
  const why = `Not everything was looked at: the check "${check}" was cut short (${reason}).`
  return {
    kind: 'not-looked',
    severity: minor === true ? 'notice' : 'warning',
    process: null,
    since: null,
    why,
    todo: 'mend what is listed, look again',
  }
}
