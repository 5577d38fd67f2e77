/**
 * The control connection of a node: one session that holds its advisory lock and listens for hints.
 *
 * - F6: lock and socket live and die together, so a missing lock proves that the process is gone or cut off. A node
 *   that lost its socket takes the lock again on the next one; until then others may take it for dead, and its epoch
 *   fences it.
 * - NOTIFY runs here only, never on the commit path: it takes a lock that all databases of the server share.
 */
import { createHash } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import type { ControlConnection, ControlNode } from '../control.ts'
import { SCHEMA_DEFAULT } from '../schema.ts'
import { openClient, type PostgresConnection, type Sql } from './client.ts'
import { asFailure } from './failure.ts'
import { type SchemaName, schemaName } from './schema-name.ts'
import { sessionKeySql } from './session-lock.ts'

export type ControlOptions = {
  readonly connection: PostgresConnection
  readonly clock: Clock
  readonly schema?: string
}

/** Ms between attempts to take the lock again on a new connection. */
const REJOIN_MS = 250
/** Bytes of one notification. Postgres takes 7,999; the rest is for the wrapping. */
const HINT_BYTES_MAX = 7_500
/** Targets that wait to be told. More are dropped: the other node finds the rows by itself. */
const HINTS_MAX = 10_000
/** Seconds. A dead peer must not hold its lock for the two hours of the kernel's default. */
const KEEP_ALIVE = { tcp_keepalives_idle: 10, tcp_keepalives_interval: 5, tcp_keepalives_count: 3 }

type Joined = { readonly node: ControlNode; readonly onHint: (targets: readonly string[]) => void }

/** Opens no connection before `join`, `hint` or `sessionGone`. */
export function openControl(options: ControlOptions): ControlConnection {
  return new PostgresControl(options)
}

class PostgresControl implements ControlConnection {
  readonly #sql: Sql
  readonly #clock: Clock
  readonly #schema: SchemaName
  readonly #hints = new Map<number, Set<string>>()
  #waiting = 0
  #joined: Joined | null = null
  #rejoining = false
  #closed = false

  constructor({ connection, clock, schema }: ControlOptions) {
    this.#clock = clock
    this.#schema = schemaName(schema ?? SCHEMA_DEFAULT)
    this.#sql = openClient(connection, 'vivarium control', 1, {
      settings: KEEP_ALIVE,
      onnotify: (_channel, payload) => this.#hear(payload),
      onclose: () => this.#rejoin(),
    })
  }

  async join(node: ControlNode, onHint: (targets: readonly string[]) => void): Promise<void> {
    if (this.#joined !== null) throw new Error(`This control connection is node ${this.#joined.node.id} already.`)
    this.#joined = { node, onHint }
    try {
      await this.#enter(node)
    } catch (error) {
      this.#joined = null
      throw asFailure(error)
    }
  }

  hint(node: number, target: string): void {
    if (this.#closed || this.#joined === null || this.#waiting >= HINTS_MAX) return
    if (this.#waiting === 0) this.#clock.macrotask(() => void this.#flush())
    this.#waiting += 1
    const targets = this.#hints.get(node)
    if (targets === undefined) this.#hints.set(node, new Set([target]))
    else targets.add(target)
  }

  async sessionGone({ id, epoch }: Pick<ControlNode, 'id' | 'epoch'>): Promise<boolean | null> {
    if (this.#closed) return null
    try {
      const [row] = await this.#sql.unsafe<{ session: boolean; held: boolean }[]>(
        `select n.session, exists (
           select 1 from pg_locks l where l.locktype = 'advisory' and l.objsubid = 1
             and l.database = (select oid from pg_database where datname = current_database())
             and l.classid::bigint = (k.key >> 32) & 4294967295 and l.objid::bigint = k.key & 4294967295) as held
         from "${this.#schema}".nodes n, (select ${sessionKeySql('$1::text', '$3::bigint')} as key) k
         where n.id = $2::bigint and n.epoch = $3::bigint`,
        [this.#schema, id, epoch],
      )
      return row?.session === true ? !row.held : null
    } catch {
      return null // who cannot ask cannot judge
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#sql.end({ timeout: 0 })
  }

  /** Lock first, then the mark that it is held: a missing lock without the mark proves nothing. */
  async #enter({ id, epoch, namespace }: ControlNode): Promise<boolean> {
    const key = sessionKeySql('$1::text', '$2::bigint')
    const [lock] = await this.#sql.unsafe<{ taken: boolean }[]>(`select pg_try_advisory_lock(${key}) as taken`, [
      this.#schema,
      epoch,
    ])
    if (lock?.taken !== true) return false // the server has not yet noticed that our last socket died
    await this.#sql.unsafe(`listen "${channelOf(this.#schema, namespace)}"`)
    await this.#sql.unsafe(
      `update "${this.#schema}".nodes set session = true where id = $1::bigint and epoch = $2::bigint and not session`,
      [id, epoch],
    )
    return true
  }

  #rejoin(): void {
    if (this.#closed || this.#joined === null || this.#rejoining) return
    this.#rejoining = true
    const { node, onHint } = this.#joined
    const attempt = async (): Promise<void> => {
      if (this.#closed) return
      const entered = await this.#enter(node).catch(() => false)
      if (!entered) return void this.#clock.after(REJOIN_MS, () => void attempt())
      this.#rejoining = false
      onHint([]) // hints were lost meanwhile; an empty one says: look for yourself
    }
    this.#clock.after(REJOIN_MS, () => void attempt())
  }

  #hear(payload: string): void {
    const joined = this.#joined
    if (joined === null) return
    const [to, ...targets] = JSON.parse(payload) as [number, ...string[]] // written by #flush of another node
    if (to === joined.node.id) joined.onHint(targets)
  }

  async #flush(): Promise<void> {
    const hints = [...this.#hints]
    this.#hints.clear()
    this.#waiting = 0
    const joined = this.#joined
    if (joined === null || this.#closed) return
    const channel = channelOf(this.#schema, joined.node.namespace)
    const payloads = hints.flatMap(([node, targets]) => pack(node, targets))
    try {
      await this.#sql.unsafe(`select pg_notify($1::text, p) from json_array_elements_text($2::text::json) p`, [
        channel,
        JSON.stringify(payloads),
      ])
    } catch {
      // A hint may be lost: the row it speaks of is stored, and the other node's recovery reads it.
    }
  }
}

/** A channel name is an identifier of at most 63 bytes; a namespace may be longer and hold anything. */
function channelOf(schema: SchemaName, namespace: string): string {
  return `vivarium_${createHash('sha256').update(`${schema}\u0000${namespace}`).digest('hex').slice(0, 32)}`
}

function pack(node: number, targets: Iterable<string>): string[] {
  const payloads: string[] = []
  let items: (number | string)[] = [node]
  let bytes = 0
  for (const target of targets) {
    const size = Buffer.byteLength(JSON.stringify(target)) + 1
    if (bytes + size > HINT_BYTES_MAX) {
      payloads.push(JSON.stringify(items))
      items = [node]
      bytes = 0
    }
    items.push(target)
    bytes += size
  }
  payloads.push(JSON.stringify(items))
  return payloads
}
