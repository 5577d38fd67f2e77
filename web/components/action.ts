/**
 * Operator actions from the first key to their outcome. Plain TypeScript: sheet and toasts only show what this says.
 *
 * - Nothing acts at once: `ask` opens the sheet, the sheet submits, and the toast follows what the server answers.
 * - An action carries the incarnation its operator saw and a key of its own, so that it can neither hit a reborn
 *   process nor happen twice.
 */
import type { Verb } from '../../shared/frame.ts'
import type { ProcessRow } from '../../shared/snapshot.ts'
import type { FeedClient, Outcome } from '../feed/client.ts'
import { showToast, type Toast } from '../ui/toast.tsx'
import { agentPath } from './address.ts'

/** Verbs that act on a process as a whole; the others belong to one message. */
export const PROCESS_VERBS = ['kill', 'stop', 'restart', 'suspend', 'resume', 'send'] as const satisfies Verb[]
/** Verbs over time: of processes that keep a journal. */
export const MEND_VERBS = ['edit-state', 'retry-turn', 'skip-message', 'rewind'] as const satisfies Verb[]
/** Verbs on an open turn, and on copies of it. */
export const TURN_VERBS = ['cancel', 'fork', 'answer', 'discard'] as const satisfies Verb[]
export type ProcessVerb = (typeof PROCESS_VERBS | typeof MEND_VERBS | typeof TURN_VERBS)[number]

/** Whether it keeps a journal that verbs over time write into. */
export function isMendable({ durable, kind }: Pick<ProcessRow, 'durable' | 'kind'>): boolean {
  return durable && kind === 'agent'
}

/** As far as a row tells: its detail knows all that can be answered. */
export function isAnswerable({ wait }: Pick<ProcessRow, 'wait'>): boolean {
  return wait?.kind === 'sandbox' || (wait?.kind === 'step' && wait.target?.endsWith('(from outside)') === true)
}

export const VERB_TITLE: Record<Verb, string> = {
  kill: 'Kill',
  stop: 'Stop',
  restart: 'Restart',
  suspend: 'Suspend',
  resume: 'Resume',
  send: 'Send',
  call: 'Call',
  'drop-message': 'Drop message',
  'redeliver-message': 'Redeliver message',
  'redeliver-dead-letter': 'Redeliver dead letter',
  'edit-state': 'Edit state',
  'retry-turn': 'Run turn again',
  'skip-message': 'Skip message',
  rewind: 'Rewind',
  cancel: 'Cancel operation',
  fork: 'Fork',
  answer: 'Answer',
  discard: 'Discard',
}

export const VERB_EXPLAINED: Record<ProcessVerb, string> = {
  kill: 'Ends it at once. It cannot refuse or clean up. Its supervisor decides what comes next.',
  stop: 'Lets the message in hand finish, then ends it. It stays stopped until someone restarts it.',
  restart: 'Ends it and starts it anew. Durable state and mailbox are kept.',
  suspend: 'Begins no new message until resumed, also across restarts.',
  resume: 'Goes on with its mailbox.',
  send: 'Puts a message into its mailbox.',
  'edit-state':
    'Replaces its state, as a version of its own. Refused while a message is in hand, or if the state moved on.',
  'retry-turn': 'Begins its open turn again. Results that are not kept are made anew, under new idempotency keys.',
  'skip-message': 'Gives the message in hand up. It becomes a dead letter, and its caller hears so.',
  rewind: 'Makes an earlier state the newest one. Messages stay; what was sent or done outside is not undone.',
  cancel: 'Asks for the end of the operation in hand. Its code hears CANCELLED at a wait, its caller that it was.',
  fork: 'Makes a sandbox copy to look at or try things with. Nothing gets out of it, and this process is not changed.',
  answer: 'Gives the turn what it waits for. That is stored as the result, with who gave it; one answer counts.',
  discard: 'Ends this sandbox copy and removes everything that is stored of it. Its original is not touched.',
}

export type Action = {
  verb: Verb
  target: string
  incarnation?: number
  reason?: string
  op?: string
  args?: unknown
  message?: string
  version?: number
  expectedVersion?: number
  step?: number
  as?: string
  request?: string
  error?: unknown
}

/** Milliseconds. A restart that takes longer is told as not seen. */
const FOLLOW_MS_MAX = 20_000

export function submit(feed: FeedClient, action: Action): void {
  const key = newKey()
  const title = `${VERB_TITLE[action.verb]} ${action.target}`
  showToast({ id: key, tone: 'progress', title, text: 'sent' })
  const watch = followsRebirth(action.verb) ? new RebirthWatch(feed, action, { key, title }) : null
  feed.act({ ...action, key }, (outcome) => {
    if (outcome.state === 'accepted') return showToast({ id: key, tone: 'progress', title, text: 'accepted' })
    if (outcome.state === 'failed') {
      watch?.end()
      return showToast({ id: key, tone: 'bad', title, text: problemText(outcome) })
    }
    const text = resultText(outcome.result)
    const link = action.verb === 'fork' ? linkToCopy(outcome.result) : {}
    showToast({ id: key, tone: watch === null ? 'good' : 'progress', title, text, ...link })
    watch?.begin(text)
  })
}

function followsRebirth(verb: Verb): boolean {
  return verb === 'kill' || verb === 'restart' || verb === 'stop'
}

/** Watches the process until it is back under a new incarnation, or ended for good. */
class RebirthWatch {
  readonly #feed: FeedClient
  readonly #action: Action
  readonly #toast: { key: string; title: string }
  readonly #subscription
  #stops: (() => void)[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(feed: FeedClient, action: Action, toast: { key: string; title: string }) {
    this.#feed = feed
    this.#action = action
    this.#toast = toast
    this.#subscription = feed.prepare(`process:${action.target}`)
    feed.retain(this.#subscription)
  }

  begin(text: string): void {
    const { rows } = this.#subscription
    this.#stops = [rows.onRow(this.#action.target, () => this.#look()), rows.onWindow(() => this.#look())]
    this.#timer = setTimeout(() => this.#tell('good', `${text}; no new incarnation seen yet`), FOLLOW_MS_MAX)
    this.#look()
  }

  end(): void {
    clearTimeout(this.#timer)
    for (const stop of this.#stops) stop()
    this.#stops = []
    this.#feed.release(this.#subscription)
  }

  #look(): void {
    const { rows } = this.#subscription
    if (!rows.window.loaded) return
    // The topic promises a ProcessDetail.
    const row = rows.row(this.#action.target) as ProcessRow | undefined
    if (row === undefined || row.status === 'exited') {
      // An ended process that is restarted may still be shown as it was.
      if (this.#action.verb !== 'restart') this.#tell('good', 'ended')
      return
    }
    const reborn = row.incarnation > (this.#action.incarnation ?? row.incarnation)
    if (reborn && row.status !== 'restarting' && row.status !== 'starting') {
      this.#tell('good', `back as incarnation ${row.incarnation}`)
    }
  }

  #tell(tone: 'good', text: string): void {
    this.end()
    showToast({ id: this.#toast.key, tone, title: this.#toast.title, text })
  }
}

function problemText({ problem }: Outcome): string {
  if (problem === undefined) return 'failed; the server gave no reason'
  return `${problem.detail} (${problem.code})`
}

function resultText(result: unknown): string {
  if (typeof result === 'object' && result !== null) {
    const outcome: unknown = Reflect.get(result, 'outcome')
    if (typeof outcome === 'string') return outcome
    const messageId: unknown = Reflect.get(result, 'messageId')
    if (typeof messageId === 'string') return `in the mailbox as ${messageId}`
  }
  return 'done'
}

/** Whoever makes a copy wants to see it. */
function linkToCopy(result: unknown): Pick<Toast, 'link'> {
  const id: unknown = Reflect.get(Object(result), 'id')
  return typeof id === 'string' ? { link: { to: agentPath(id), text: `Open ${id}` } } : {}
}

/** Random, 128 bits. `crypto.randomUUID` is missing on plain HTTP, which the observer must work over. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

// Which sheet is open. One at a time, from anywhere on the page.

export type Asked = {
  verb: ProcessVerb
  id: string
  incarnation: number
  /** Where a rewind goes, or whose state a copy has. */
  version?: number
  /** Key of what is answered. */
  request?: string
  /** A message that waits: a cancel takes it back. */
  message?: { id: string; op: string }
} | null

const listeners = new Set<() => void>()
let asked: Asked = null

export function ask(next: Asked): void {
  asked = next
  for (const listener of listeners) listener()
}

export function listenAsked(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function currentlyAsked(): Asked {
  return asked
}

// Reasons given lately are offered again: during an incident the same reason is typed many times.

const REASONS_KEY = 'vivarium.reasons'
const REASONS_MAX = 5

export function recentReasons(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(REASONS_KEY) ?? '[]')
    return Array.isArray(kept) ? kept.filter((reason): reason is string => typeof reason === 'string') : []
  } catch {
    return [] // written by something else: offering nothing is right
  }
}

export function rememberReason(reason: string): void {
  const kept = [reason, ...recentReasons().filter((each) => each !== reason)].slice(0, REASONS_MAX)
  localStorage.setItem(REASONS_KEY, JSON.stringify(kept))
}
