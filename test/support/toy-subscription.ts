/** One subscription of the toy feed: what was sent, and what differs now. Keeps to the credit of shared/frame.ts. */
import { type ServerFrame, UNACKED_FRAMES_MAX, type View } from '../../shared/frame.ts'
import { listOf, rowOf, type ToyList } from './toy-view.ts'
import type { ToyWorld } from './toy-world.ts'

type ToyRow = { id: string } & Record<string, unknown>
type Content = { rows: Map<string, ToyRow>; order: string[]; from: number; counts: Record<string, number> }

export class ToySubscription {
  readonly id: string
  readonly topic: string
  view: View
  #seq = 0
  #acked = 0
  #sent: Content | null = null
  #items = 0
  #frozen: string[] | null = null
  #listed: { key: string; list: ToyList } | null = null
  readonly #world: ToyWorld

  constructor(world: ToyWorld, id: string, topic: string, view: View) {
    this.#world = world
    this.id = id
    this.topic = topic
    this.view = view
  }

  ack(seq: number): void {
    this.#acked = Math.max(this.#acked, seq)
  }

  /** The next frame, or null when nothing changed or the client is behind. */
  next(now: number): ServerFrame | null {
    if (this.#seq - this.#acked >= UNACKED_FRAMES_MAX) return null
    const items = this.#itemsOf()
    if (items !== null) return this.#append(items, now)
    const content = this.#contentOf(now)
    const before = this.#sent
    this.#sent = content
    if (before === null) {
      const rows = content.order.map((id) => content.rows.get(id)).filter((row) => row !== undefined)
      return { t: 'snap', id: this.id, seq: ++this.#seq, rows, from: content.from, counts: content.counts, at: now }
    }
    return this.#delta(before, content, now)
  }

  #append(items: readonly unknown[], now: number): ServerFrame | null {
    const fresh = items.slice(this.#items)
    if (fresh.length === 0 && this.#seq > 0) return null
    this.#items = items.length
    return { t: 'append', id: this.id, seq: ++this.#seq, cursor: String(items.length), items: fresh, at: now }
  }

  #delta(before: Content, content: Content, now: number): ServerFrame | null {
    const up = [...content.rows.values()].filter(
      (row) => JSON.stringify(before.rows.get(row.id)) !== JSON.stringify(row),
    )
    const del = [...before.rows.keys()].filter((id) => !content.rows.has(id))
    const moved = content.from !== before.from || content.order.join('\n') !== before.order.join('\n')
    const counted = JSON.stringify(content.counts) !== JSON.stringify(before.counts)
    if (up.length === 0 && del.length === 0 && !moved && !counted) return null
    return {
      t: 'delta',
      id: this.id,
      seq: ++this.#seq,
      up,
      del,
      ...(moved ? { order: content.order, from: content.from } : {}),
      ...(counted ? { counts: content.counts } : {}),
      at: now,
    }
  }

  #contentOf(now: number): Content {
    const world = this.#world
    const [name = '', id = ''] = split(this.topic)
    if (name === 'processes') return this.#processes()
    if (name === 'vitals')
      return rows(
        [...world.history.slice(this.#sent === null ? 0 : -1)].map((each) => ({ ...each, id: String(each.at) })),
      )
    if (name === 'needs') return rows(world.needs(now).map((need) => ({ ...need, id: need.key })))
    if (name === 'dead-letters') return rows(world.letters.map((letter) => ({ ...letter })))
    const process = world.processes.get(id)
    if (process === undefined) return rows([])
    if (name === 'process') {
      const children = process.children
        .map((child) => world.processes.get(child))
        .filter((child) => child !== undefined)
      return rows([{ ...process.detail(children) }])
    }
    const window = process.mailbox
      .slice(0, 100)
      .map((item) => ({ ...item, id: item.messageId ?? String(item.position) }))
    return { ...rows(window), counts: { total: process.mailbox.length } }
  }

  #processes(): Content {
    const world = this.#world
    const list = this.#list()
    const frozen = this.view.freeze === true && this.#frozen !== null && this.#frozen.length === list.ids.length
    const ids = frozen && this.#frozen !== null && sameMembers(this.#frozen, list.ids) ? this.#frozen : list.ids
    this.#frozen = ids
    const [from, to] = this.view.window ?? [0, 100]
    const order = ids.slice(from, to)
    const content = rows(order.map((id) => ({ ...rowOf(world, id, this.view) })))
    return { ...content, from, counts: list.counts }
  }

  /** One list a second and view: the server under the test must not take the time of the browser. */
  #list(): ToyList {
    const { window: _window, ...rest } = this.view
    const key = JSON.stringify([this.#world.beat, this.#world.treeVersion, rest])
    if (this.#listed?.key !== key) this.#listed = { key, list: listOf(this.#world, this.view) }
    return this.#listed.list
  }

  #itemsOf(): readonly unknown[] | null {
    const world = this.#world
    const [name, id] = split(this.topic)
    if (name === 'audit') return world.audit
    if (name === 'failures' && id === undefined) return world.failures
    const process = world.processes.get(id ?? '')
    if (name === 'failures') return process?.failures ?? []
    if (name === 'events') return process?.events ?? []
    if (name === 'journal') return (process?.journal ?? []).map((item) => ({ ...item, payload: null }))
    return null
  }
}

function split(topic: string): [string, string | undefined] {
  const at = topic.indexOf(':')
  return at < 0 ? [topic, undefined] : [topic.slice(0, at), topic.slice(at + 1)]
}

function rows(list: readonly ToyRow[]): Content {
  return {
    rows: new Map(list.map((row) => [row.id, row])),
    order: list.map((row) => row.id),
    from: 0,
    counts: { total: list.length },
  }
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  const members = new Set(a)
  return b.every((id) => members.has(id))
}
