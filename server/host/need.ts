/** "Needs you": what an operator should look at, each with the reason in words. Severity first, then age. */
import { SEVERITY_RANK, WAITING_MS } from '../../shared/doctor.ts'
import type { DeadLetter, Need } from '../../shared/snapshot.ts'
import type { Process } from '../kernel/process.ts'
import type { RuntimeCore } from '../runtime.ts'
import { isService } from './service.ts'

/** Failures after which a process counts as looping, if it restarted within the last minute. */
const LOOP_RESTARTS = 3
const RECENT_MS = 60_000
/** Part of the mailbox limit that is worth a look. */
const MAILBOX_PART = 0.5
const NEEDS_MAX = 200

export function needsOf(core: RuntimeCore, letters: readonly DeadLetter[]): Need[] {
  const now = core.clock.now()
  const needs: Need[] = []
  if (!core.layer.committer.up) {
    needs.push({
      key: 'store',
      severity: 'critical',
      kind: 'store',
      process: null,
      since: now,
      text: 'The database does not answer. Turns wait and lose nothing; work goes on when it is back.',
    })
  }
  needs.push(...needsOfThread(core, now))
  for (const process of core.kernel.all()) needs.push(...needsOfProcess(process, now, core.clock.monotonic()))
  needs.push(...needsOfLetters(letters))
  needs.sort((a, b) => SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity] || a.since - b.since)
  return needs.slice(0, NEEDS_MAX)
}

/** Who held the thread lately: everybody else waited for it. Code of no process has nobody to go to. */
function needsOfThread({ watch }: RuntimeCore, now: number): Need[] {
  const recent = watch?.blocks.recent(now).filter(({ longest }) => !isService(longest.id)) ?? []
  return recent.map(({ longest, lastAt, times }): Need => {
    const { id, op, durationMs } = longest
    const how = `for ${Math.round(durationMs)} ms${op === null ? '' : ` in "${op}"`}`
    const often = times === 1 ? '' : `, the longest of ${times} times`
    const text = `${id} held the thread of its node ${how}${often}; nothing else ran meanwhile.`
    return { key: `thread:${id}`, severity: 'warning', kind: 'thread', process: id, since: lastAt, text }
  })
}

/** One need for all letters of a process and operation: forty of one cause must not hide what else needs somebody. */
function needsOfLetters(letters: readonly DeadLetter[]): Need[] {
  const open = letters.filter((letter) => letter.redeliveredAt === null)
  const groups = Map.groupBy(open, (letter) => `${letter.process} ${letter.op}`)
  return [...groups.values()].flatMap((group): Need[] => {
    const last = group.reduce((a, b) => (b.at > a.at ? b : a))
    const { process, op, reason } = last
    const text =
      group.length === 1
        ? `Message "${op}" of ${process} is a dead letter: ${reason}`
        : `${process} has ${group.length} dead letters of "${op}", the last: ${reason}`
    const since = Math.min(...group.map((letter) => letter.at))
    return [{ key: `dead-letter:${process}:${op}`, severity: 'warning', kind: 'dead-letter', process, since, text }]
  })
}

function needsOfProcess(process: Process, now: number, monotonic: number): Need[] {
  const { id, stats, wait, status, supervisor } = process
  const found: Need[] = []
  const add = (severity: Need['severity'], kind: Need['kind'], since: number, text: string): void => {
    found.push({ key: `${kind}:${id}`, severity, kind, process: id, since, text })
  }
  if (status === 'diverged')
    add('critical', 'diverged', stats.since, `${id} diverged: ${wait?.target ?? 'its code changed'}.`)
  if (supervisor !== null) {
    const detail = supervisor.detail(monotonic)
    if (detail.gaveUp)
      add(
        'critical',
        'gave-up',
        stats.since,
        `${id} gave up: more than ${detail.intensity} restarts in ${detail.periodMs} ms.`,
      )
    else if (detail.recentRestarts > 0 && detail.recentRestarts >= detail.intensity) {
      add(
        'warning',
        'near-limit',
        now,
        `${id} used ${detail.recentRestarts} of ${detail.intensity} restarts; the next failure makes it give up.`,
      )
    }
  }
  if (process.suspended)
    add('notice', 'suspended', stats.since, `${id} is suspended; ${process.mailboxLength} messages wait.`)
  if (wait !== null && wait.kind !== 'sleep' && wait.kind !== 'receive' && now - wait.since > WAITING_MS) {
    add('warning', 'stuck', wait.since, `${id} waits for ${wait.kind} ${wait.target ?? ''}, attempt ${wait.attempt}.`)
  }
  if (process.mailboxLength > process.mailboxLimit * MAILBOX_PART) {
    add(
      'warning',
      'mailbox',
      now,
      `Mailbox of ${id} holds ${process.mailboxLength} of ${process.mailboxLimit} messages.`,
    )
  }
  if (stats.restarts >= LOOP_RESTARTS && stats.failures >= LOOP_RESTARTS && now - stats.startedAt < RECENT_MS) {
    add(
      'warning',
      'crash-loop',
      stats.startedAt,
      `${id} failed ${stats.failures} times and was restarted ${stats.restarts} times.`,
    )
  }
  return found
}
