/**
 * A chain of children on one folder, each killed and followed by the next, with checks between: structure after every
 * kill, everything after each few of them.
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { CrashPointName } from '../../server/crash-point.ts'
import { type EmbeddedPostgres, startEmbedded, stopEmbedded } from '../../server/store/embedded/embedded.ts'
import { Chance } from './chance.ts'
import { Child } from './child.ts'
import { readLines } from './fact.ts'
import { Place } from './place.ts'
import { openRows, type Rows } from './rows.ts'
import { checkKilled, type Settled, settle } from './settle.ts'

/** Ms from the start of a child to its end at a point: boot, load, and the slowest timer in between. */
const POINT_MS = 90_000
/** Ms within which a child that is under load comes to the message that freezes it. */
const FREEZE_MS = 10_000
/** Kills between two settlements: fewer than the five deaths that bury a message, lives may be shorter than turns. */
const SETTLE_EVERY = 4
/** Nodes that may die of one message: it is buried after five. */
const BOMBED_MAX = 8
const NOTHING: Settled = { operations: 0, promised: 0, effects: 0, rows: 0 }

export class Chain {
  readonly chance: Chance
  readonly #folder: string
  #server: EmbeddedPostgres
  #place: Place
  #rows: Rows & { close(): Promise<void> }
  #runs = 0
  #schemas = 1
  #unsettled = 0
  kills = 0
  /** Of schemas that are done with, and of the one in work at its last settlement. */
  readonly #past: Settled[] = []
  #last: Settled = NOTHING

  private constructor(folder: string, server: EmbeddedPostgres, seed: number) {
    this.#folder = folder
    this.#server = server
    this.chance = new Chance(seed)
    this.#place = new Place(folder, 'crash1', 'hits1')
    this.#rows = openRows(server.connection, this.#place.schema)
  }

  static async begin(seed: number): Promise<Chain> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'vivarium-crash-')))
    const server = await startEmbedded({ dataDir: join(folder, 'data') })
    return new Chain(folder, server, seed)
  }

  /** Hits of a point so far, from the log that the dying children wrote. */
  hits(point: CrashPointName): number {
    return readLines(this.#place.hits).filter((line) => line === point).length
  }

  /** Works until the nth passage of the point kills it. */
  async killAt(point: CrashPointName, nth: number, options: { drain?: boolean } = {}): Promise<void> {
    const before = this.hits(point)
    const child = this.#child({ point, nth })
    if (options.drain === true) {
      await child.says('up', POINT_MS)
      await this.#pause(300 + this.chance.below(500))
      child.kill('SIGTERM')
    }
    const { signal, code, errors } = await child.ended(POINT_MS)
    if (signal !== 'SIGKILL')
      throw new Error(`The child ended with ${signal ?? code} instead of dying at ${point}:\n${errors}`)
    if (this.hits(point) !== before + 1) throw new Error(`${point} was not logged as hit.`)
    await this.#killed()
  }

  /** Kills from outside, `ms` after the child came up, or after it was started. */
  async killAfter(ms: number, from: 'start' | 'up'): Promise<void> {
    const child = this.#child()
    if (from === 'up') await child.says('up', POINT_MS)
    await this.#pause(ms)
    child.kill('SIGKILL')
    const { signal, code, errors } = await child.ended(POINT_MS)
    if (signal !== 'SIGKILL') throw new Error(`The child ended with ${signal ?? code} before it was killed:\n${errors}`)
    await this.#killed()
  }

  /** A new chain on the same server, whatever became of the one before. */
  async again(): Promise<void> {
    this.#unsettled = 0
    this.kills = 0
    await this.#newSchema(`hits${this.#schemas + 1}`)
    this.#past.length = 0
  }

  /** The next child finds no tables. */
  async freshSchema(): Promise<void> {
    await this.settle()
    await this.#newSchema(basename(this.#place.hits))
  }

  async #newSchema(hits: string): Promise<void> {
    await this.#rows.close()
    this.#schemas += 1
    this.#past.push(this.#last)
    this.#last = NOTHING
    this.#place = new Place(this.#folder, `crash${this.#schemas}`, hits)
    this.#rows = openRows(this.#server.connection, this.#place.schema)
  }

  /** The next child finds no server; the work after it runs on the one it started. */
  async killAtServerStart(): Promise<void> {
    await this.#rows.close()
    await this.#server.release()
    await stopEmbedded(this.#place.data, { force: true })
    const child = this.#child({ point: 'embedded:started', nth: 1 })
    const { signal, code, errors } = await child.ended(POINT_MS)
    if (signal !== 'SIGKILL') throw new Error(`The child ended with ${signal ?? code} instead of dying:\n${errors}`)
    this.#server = await startEmbedded({ dataDir: this.#place.data })
    this.#rows = openRows(this.#server.connection, this.#place.schema)
    await this.#killed()
  }

  /** Load, then SIGTERM. Resolves with the ms the drain took and its exit code. */
  async drain(loadMs: number): Promise<{ code: number | null; ms: number }> {
    const child = this.#child()
    await child.says('up', POINT_MS)
    await this.#pause(loadMs)
    const from = performance.now()
    child.kill('SIGTERM')
    const { code } = await child.ended(POINT_MS)
    const ms = performance.now() - from
    this.#unsettled += 1
    await checkKilled(this.#rows, this.#place)
    return { code, ms }
  }

  /** A message that kills every node that takes it, under load. Resolves with the nodes it killed and the reason it
   *  was buried with. */
  async bomb(mode: 'send-bomb' | 'call-bomb'): Promise<{ killed: number; reason: string }> {
    const first = new Child(this.#place, { run: this.#run(), seed: 1, mode })
    await first.ended(POINT_MS)
    this.#unsettled += 1
    for (let killed = 1; killed <= BOMBED_MAX; killed++) {
      const next = this.#child()
      const reason = await Promise.race([this.#buried(), next.ended(POINT_MS).then(() => null)])
      if (reason === null) continue
      next.kill('SIGTERM')
      const { code, errors } = await next.ended(POINT_MS)
      if (code !== 0) throw new Error(`The survivor ended with ${code}:\n${errors}`)
      return { killed, reason }
    }
    throw new Error(`The message killed ${BOMBED_MAX} nodes and was not buried.`)
  }

  /** A child is frozen under load for longer than its lease; an heir takes over and finishes what it had in hand. Then
   *  it goes on where it was, beside the heir; both drain. */
  async freeze(loadMs: number): Promise<void> {
    const frozen = new Child(this.#place, { run: this.#run(), seed: this.chance.below(2 ** 31), mode: 'load-through' })
    await frozen.says('up', POINT_MS)
    await this.#pause(loadMs)
    await frozen.freeze(FREEZE_MS)
    const heir = new Child(this.#place, { run: this.#run(), seed: 1, mode: 'settle' })
    try {
      await heir.says('finished', POINT_MS)
      if (!(await this.#isDead(frozen))) throw new Error('The frozen node was not taken for dead.')
      frozen.kill('SIGCONT')
      await this.#pause(loadMs)
      for (const child of [frozen, heir]) {
        child.kill('SIGTERM')
        const { code, errors } = await child.ended(POINT_MS)
        if (code !== 0) throw new Error(`A child ended with ${code} after the freeze:\n${errors}`)
      }
    } finally {
      for (const child of [frozen, heir]) child.kill('SIGKILL') // does nothing where it has ended
    }
    this.#last = await settle(this.#place, this.#rows, this.#run())
  }

  async #isDead(child: Child): Promise<boolean> {
    const { sql, schema } = this.#rows
    const lives = await sql`
      select 1 from ${sql(schema)}.nodes where os_pid = ${child.pid ?? 0} and stopped_at is null`
    return lives.length === 0
  }

  async #buried(): Promise<string> {
    const { sql, schema } = this.#rows
    for (;;) {
      const [row] = await sql<{ reason: string }[]>`select reason from ${sql(schema)}.dead_letters where op = 'blow'`
      if (row !== undefined) return row.reason
      await this.#pause(100)
    }
  }

  async settle(): Promise<void> {
    if (this.#unsettled === 0) return
    this.#unsettled = 0
    this.#last = await settle(this.#place, this.#rows, this.#run())
  }

  get totals(): Settled {
    return [...this.#past, this.#last].reduce((sum, one) => ({
      operations: sum.operations + one.operations,
      promised: sum.promised + one.promised,
      effects: sum.effects + one.effects,
      rows: sum.rows + one.rows,
    }))
  }

  async end(): Promise<void> {
    await this.#rows.close()
    await this.#server.release()
    await stopEmbedded(this.#place.data, { force: true })
    await rm(this.#folder, { recursive: true, force: true })
  }

  #child(at?: { point: CrashPointName; nth: number }): Child {
    const seed = this.chance.below(2 ** 31)
    return new Child(this.#place, { run: this.#run(), seed, ...(at === undefined ? {} : { at }) })
  }

  #run(): string {
    this.#runs += 1
    return `r${this.#runs}`
  }

  async #killed(): Promise<void> {
    this.kills += 1
    this.#unsettled += 1
    if (await this.#hasTables()) await checkKilled(this.#rows, this.#place)
    if (this.#unsettled >= SETTLE_EVERY) await this.settle()
  }

  async #hasTables(): Promise<boolean> {
    const { sql, schema } = this.#rows
    // What the last migration made: a kill between two of them leaves the earlier ones.
    const found = await sql`select 1 from information_schema.columns
      where table_schema = ${schema} and table_name = 'processes' and column_name = 'sandbox'`
    return found.length > 0
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms))
  }
}
