/**
 * What an operator's verb would do, computed from the tree and the mailboxes before anything is done. A pure read:
 * asking costs nothing and changes nothing.
 */

import type { Verb } from '../../shared/frame.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { BlastRadius } from '../../shared/snapshot.ts'
import { recordOf } from '../journal/durable.ts'
import type { ResultEntry } from '../journal/entry.ts'
import { resultsOf } from '../journal/replay.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'

/** Processes named in a preview; the rest is counted. */
const AFFECTED_MAX = 50

/** Verbs that end a process; all others touch nobody else. */
const REACHES_OTHERS: ReadonlySet<Verb> = new Set(['kill', 'stop', 'restart'])

export function blastRadius(kernel: Kernel, verb: Verb, process: Process, maxAttempts: number): BlastRadius {
  return {
    verb,
    target: process.id,
    incarnation: process.incarnation,
    affected: affected(verb, process),
    message: messageText(verb, process, maxAttempts),
    queue: queueText(verb, process),
    callers: callersOf(kernel, process.id),
    budget: budgetText(verb, process),
  }
}

/** Of a process that is only stored. */
export function passiveRadius(
  verb: Verb,
  { id, incarnation }: { id: ProcessId; incarnation: number },
  waiting: number,
): BlastRadius {
  const queue = waiting === 1 ? '1 message stays in the mailbox.' : `${waiting} messages stay in the mailbox.`
  const message = 'No message is in hand.'
  return { verb, target: id, incarnation, affected: [], message, queue, callers: [], budget: null }
}

function affected(verb: Verb, process: Process): BlastRadius['affected'] {
  const found: BlastRadius['affected'] = []
  if (!REACHES_OTHERS.has(verb)) return found
  for (const child of descendants(process)) {
    found.push({ id: child.id, effect: verb === 'stop' ? 'stops' : 'restarts', why: `child of ${process.id}` })
  }
  const parent = process.parent
  if (parent?.supervisor != null && verb === 'kill') {
    const { strategy } = parent.supervisor
    const siblings = [...parent.supervisor.processes()]
    const from =
      strategy === 'one_for_all' ? 0 : strategy === 'rest_for_one' ? siblings.indexOf(process) + 1 : siblings.length
    for (const sibling of siblings.slice(from)) {
      if (sibling !== process) found.push({ id: sibling.id, effect: 'restarts', why: `${strategy} of ${parent.id}` })
    }
  }
  if (found.length <= AFFECTED_MAX) return found
  const rest = found.length - AFFECTED_MAX
  return [...found.slice(0, AFFECTED_MAX), { id: process.id, effect: 'unaffected', why: `and ${rest} more like these` }]
}

function* descendants(process: Process): Iterable<Process> {
  for (const child of process.supervisor?.processes() ?? []) {
    yield child
    yield* descendants(child)
  }
}

function messageText(verb: Verb, process: Process, maxAttempts: number): string {
  const { current } = process
  if (current === null) return 'No message is in hand.'
  const op = `"${current.op}" (attempt ${current.attempts + 1} of ${maxAttempts})`
  if (verb === 'kill') {
    if (!process.durable) return `${op} is lost; its caller gets PROCESS_EXITED.`
    return current.attempts + 1 >= maxAttempts
      ? `${op} becomes a dead letter.`
      : `${op} is delivered again and costs one attempt.`
  }
  if (verb === 'stop')
    return process.durable ? `${op} finishes first, or stays for the next start.` : `${op} finishes first.`
  if (verb === 'restart')
    return process.durable ? `${op} is delivered again without costing an attempt.` : `${op} is lost.`
  if (verb === 'skip-message') return `${op} becomes a dead letter; its caller hears so. What it did outside stays.`
  if (verb === 'retry-turn') return `${op} begins again; what is not kept is done anew. ${resultsText(process)}`
  if (verb === 'edit-state' || verb === 'rewind') return `${op} is in hand: the state cannot be changed before its end.`
  return `${op} goes on.`
}

/** Results an operator can begin again behind, newest last. */
const RESULTS_SHOWN = 12

function resultsText(process: Process): string {
  const open = recordOf(process)?.open ?? null
  const results = open === null ? [] : resultsOf(open.entries)
  if (results.length === 0) return 'It has no results yet.'
  const from = Math.max(0, results.length - RESULTS_SHOWN)
  const shown = results.slice(from).map(({ entry }, i) => `${from + i + 1} ${placeText(entry)}`)
  return `Results: ${from > 0 ? '…, ' : ''}${shown.join(', ')}.`
}

function placeText(entry: ResultEntry): string {
  return entry.k === 'checkpoint' ? `${entry.key} (stays)` : entry.key.replace(/#0$/, '')
}

function queueText(verb: Verb, process: Process): string {
  const n = process.mailboxLength
  const messages = n === 1 ? '1 message' : `${n} messages`
  if (verb === 'suspend') return `${messages} wait until resume; new ones queue.`
  if (process.durable) return `${messages} stay${n === 1 ? 's' : ''} in the mailbox.`
  return verb === 'kill' || verb === 'stop' || verb === 'restart'
    ? `${messages} in memory are lost.`
    : `${messages} queued.`
}

export function callersOf(kernel: Kernel, id: ProcessId): string[] {
  const found = new Set<string>()
  for (const other of kernel.all()) {
    if (other.wait?.kind === 'call' && other.wait.target?.startsWith(`${id} `) === true) found.add(other.id)
    if (found.size === AFFECTED_MAX) break
  }
  return [...found]
}

function budgetText(verb: Verb, process: Process): string | null {
  const parent = process.parent
  const detail = parent?.supervisor?.detail(kernelNow(process)) ?? null
  if (detail === null || parent === null || verb !== 'kill') return null
  const left = detail.intensity - detail.recentRestarts
  const next = left <= 0 ? 'the next one makes it give up' : `${left} left`
  const { recentRestarts, intensity, periodMs } = detail
  return `${parent.id}: ${recentRestarts} of ${intensity} restarts used in ${periodMs} ms; ${next}.`
}

/** The window of a supervisor is judged at the time of its newest event: good enough for a preview. */
function kernelNow(process: Process): number {
  return process.stats.since
}
