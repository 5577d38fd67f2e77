/**
 * Publish and subscribe inside one kernel. Topics are segments joined by dots; a pattern may use `*` for exactly one
 * segment and a final `>` for one or more.
 *
 * - K44: fire and forget, at most once per subscription; a subscriber that subscribed twice gets it twice; in order
 *   per publisher; gone at death.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Process } from './process.ts'
import type { Holding } from './tie.ts'

/** Units: UTF-16 code units. A topic is an address, not a document. */
export const TOPIC_LENGTH_MAX = 256

export type Subscription = { readonly pattern: string; readonly process: Process; readonly op: string }

type Branch = { children: Map<string, Branch>; here: Subscription[]; rest: Subscription[] }

export class Topics implements Holding<Process> {
  readonly #root: Branch = branch()
  readonly #byProcess = new Map<Process, Subscription[]>()

  subscribe(process: Process, pattern: string, op: string): Subscription {
    const segments = segmentsOf(pattern, true)
    const subscription: Subscription = { pattern, process, op }
    this.#listAt(segments, true)?.push(subscription)
    const own = this.#byProcess.get(process)
    if (own === undefined) this.#byProcess.set(process, [subscription])
    else own.push(subscription)
    const tie = process.tie()
    tie.holdings ??= new Set()
    tie.holdings.add(this)
    return subscription
  }

  /** Removes all subscriptions of the process with that pattern; how many there were. */
  unsubscribe(process: Process, pattern: string): number {
    const own = this.#byProcess.get(process) ?? []
    const rest = own.filter((subscription) => subscription.pattern !== pattern)
    if (rest.length === 0) this.#byProcess.delete(process)
    else this.#byProcess.set(process, rest)
    if (rest.length < own.length) this.#remove(process, pattern)
    return own.length - rest.length
  }

  subscriptions(process: Process): readonly Subscription[] {
    return this.#byProcess.get(process) ?? []
  }

  /** Everybody whose pattern fits, once per subscription. */
  match(topic: string): Subscription[] {
    const found: Subscription[] = []
    collect(this.#root, segmentsOf(topic, false), 0, found)
    return found
  }

  release(process: Process): void {
    const own = this.#byProcess.get(process) ?? []
    this.#byProcess.delete(process)
    for (const pattern of new Set(own.map((subscription) => subscription.pattern))) this.#remove(process, pattern)
  }

  #remove(process: Process, pattern: string): void {
    const segments = segmentsOf(pattern, true)
    const list = this.#listAt(segments, false)
    if (list === undefined) return
    const rest = list.filter((item) => item.process !== process)
    list.length = 0
    list.push(...rest)
    this.#prune(segments)
  }

  #listAt(segments: string[], make: boolean): Subscription[] | undefined {
    let at = this.#root
    for (const segment of segments) {
      if (segment === '>') return at.rest
      let next = at.children.get(segment)
      if (next === undefined) {
        if (!make) return undefined
        next = branch()
        at.children.set(segment, next)
      }
      at = next
    }
    return at.here
  }

  /** Drops branches nobody listens on, leaf first: keys come and go, memory must not stay. */
  #prune(segments: string[]): void {
    const path: Branch[] = [this.#root]
    for (const segment of segments) {
      const next = path.at(-1)?.children.get(segment)
      if (next === undefined) break
      path.push(next)
    }
    for (let i = path.length - 1; i > 0; i--) {
      const item = path[i]
      if (item === undefined || item.children.size + item.here.length + item.rest.length > 0) return
      path[i - 1]?.children.delete(segments[i - 1] ?? '')
    }
  }
}

function branch(): Branch {
  return { children: new Map(), here: [], rest: [] }
}

function collect(at: Branch, segments: string[], depth: number, found: Subscription[]): void {
  const segment = segments[depth]
  if (segment === undefined) {
    found.push(...at.here)
    return
  }
  found.push(...at.rest)
  const exact = at.children.get(segment)
  if (exact !== undefined) collect(exact, segments, depth + 1, found)
  const any = at.children.get('*')
  if (any !== undefined) collect(any, segments, depth + 1, found)
}

/** @throws REQUEST_INVALID */
function segmentsOf(topic: string, pattern: boolean): string[] {
  const segments = topic.split('.')
  const fault =
    topic.length > TOPIC_LENGTH_MAX
      ? `is longer than ${TOPIC_LENGTH_MAX} characters`
      : segments.includes('')
        ? 'has an empty segment'
        : segments.some((segment, i) => segment === '>' && i < segments.length - 1)
          ? 'has ">" before its end'
          : !pattern && segments.some((segment) => segment === '*' || segment === '>')
            ? 'has a wildcard; only subscriptions may'
            : null
  if (fault === null) return segments
  throw new RuntimeError('REQUEST_INVALID', `Topic ${JSON.stringify(topic.slice(0, 80))} ${fault}.`)
}
