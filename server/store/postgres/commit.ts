/**
 * The commit: one statement for a whole batch, its text composed from what the batch has.
 *
 * - F1: heads are compared and set first; journal rows and everything else are written only for processes in its
 *   RETURNING. D1: it is one statement, so each row is written whole or not at all.
 * - F2: the node row is held `for key share`; without it no head moves.
 * - M1: consumed rows are deleted in the same statement. The fast text deletes and counts: one missing row divides by
 *   zero, nothing at all is written, and the batch goes out again with the checked text, which refuses just the rows
 *   whose messages are missing. Missing rows are a bug or a race with a takeover, so the second trip is never hot.
 * - C1: rows are sorted by process, so that two batches lock heads in one order.
 * - Heads and mailbox rows are found by lists of keys, never by a join: the plan of a join, made while a table was
 *   empty, was measured to read all of it once per row later (2,700 rows per second).
 */
import { assertOneEach } from '../change.ts'
import type { Commit, CommitOutcome, NodeIdentity } from '../store.ts'
import { freshBlob } from './blob.ts'
import { isSeldom, messageSql, messageValues, SENT_ORDS, type Sent } from './commit-message.ts'
import { blobRef, hasRecords, SECTIONS } from './commit-record.ts'
import { type Context, fence, ms } from './context.ts'
import { asFailure } from './failure.ts'
import { bigints, numberList, textList, texts } from './list.ts'
import { accepted, type Section, sectionSql } from './section.ts'

/** Only guards divide: over consumed rows, over timers that are disarmed while they fire. */
const DIVISION_BY_ZERO = '22012'
/** Once for each guard, and some more for timers: each try sees what fired before it. */
const GUARD_TRIES = 5
/** Statements kept prepared per connection. Hot ones come first; a rare mixture of lists is planned when it comes. */
const PREPARED_MAX = 64

const NO_ORDS: readonly number[] = []

export type Result = { n: number; at: number; accepted: string | null; ords?: string | null; told?: string | null }
type Shape = {
  readonly lineage: boolean
  readonly consumed: boolean
  readonly checked: boolean
  readonly messages: 'none' | 'plain' | 'seldom'
  readonly sections: readonly Section[]
}
type Built = { readonly shape: Shape; readonly values: string[]; readonly sent: readonly Sent[] }

/** Texts by shape, one map per store: a bounded number of statements is prepared. */
export class CommitStatement {
  readonly #context: Context
  readonly #texts = new Map<string, string>()

  constructor(context: Context) {
    this.#context = context
  }

  async run(node: NodeIdentity, batch: readonly Commit[]): Promise<CommitOutcome[]> {
    if (batch.length === 0) return []
    const rows = inOrder(batch)
    assertOneEach(rows)
    try {
      return await this.#guarded(node, batch, rows)
    } catch (error) {
      throw asFailure(error)
    }
  }

  /** The same for one row, by whatever sends it: the last statement of a user's transaction (T2). */
  async runAlone(
    node: NodeIdentity,
    row: Commit,
    send: (text: string, values: string[]) => Promise<Result[]>,
  ): Promise<CommitOutcome> {
    const one = async ({ shape, values }: Built): Promise<Result> => only(await send(this.#textOf(shape).text, values))
    const [outcome] = await this.#guarded(node, [row], [row], one)
    return outcome ?? { kind: 'refused' }
  }

  async #guarded(
    node: NodeIdentity,
    batch: readonly Commit[],
    rows: readonly Commit[],
    send = (built: Built): Promise<Result> => this.#send(built),
  ): Promise<CommitOutcome[]> {
    let built = build(node, rows, false)
    for (let attempt = 1; ; attempt++) {
      try {
        return outcomes(batch, rows, built.sent, await send(built))
      } catch (error) {
        if (attempt === GUARD_TRIES || !isGuarded(built.shape) || !isGuard(error)) throw error
        built = build(node, rows, built.shape.consumed)
      }
    }
  }

  async #send({ shape, values }: Built): Promise<Result> {
    const { text, prepare } = this.#textOf(shape)
    return only(await this.#context.commit.unsafe<Result[]>(text, values, { prepare }))
  }

  #textOf(shape: Shape): { text: string; prepare: boolean } {
    const key = shapeKey(shape)
    const known = this.#texts.get(key)
    if (known !== undefined) return { text: known, prepare: true }
    const text = statement(this.#context.q, shape)
    const prepare = this.#texts.size < PREPARED_MAX
    if (prepare) this.#texts.set(key, text)
    return { text, prepare }
  }
}

function only([result]: readonly Result[]): Result {
  if (result === undefined) throw new Error('The commit statement returned no row; an aggregate always returns one.')
  return result
}

function isGuarded({ consumed, checked, sections }: Shape): boolean {
  return (consumed && !checked) || sections.some((section) => section.guard !== undefined)
}

function isGuard(error: unknown): boolean {
  return Reflect.get(Object(error), 'code') === DIVISION_BY_ZERO
}

function inOrder(batch: readonly Commit[]): readonly Commit[] {
  for (let i = 1; i < batch.length; i++) {
    const before = batch[i - 1]
    const after = batch[i]
    if (before !== undefined && after !== undefined && before.process > after.process) {
      return batch.toSorted((a, b) => a.process - b.process)
    }
  }
  return batch
}

function build(node: NodeIdentity, rows: readonly Commit[], checked: boolean): Built {
  let lineage = false
  let consumed = false
  let records = false
  const sent: Sent[] = []
  for (const row of rows) {
    const { cause, root, traceparent, actor } = row.meta
    lineage ||= cause !== null || root !== null || traceparent !== null || actor !== null
    consumed ||= row.consumed !== undefined && row.consumed.length > 0
    records ||= hasRecords(row)
    for (const message of row.messages ?? []) sent.push({ pid: row.process, message })
  }
  const values = [String(node.id), String(node.epoch), node.namespace, ...rowValues(rows, lineage)]
  if (consumed) values.push(...consumedValues(rows))
  const seldom = sent.some((item) => isSeldom(item.message))
  if (sent.length > 0) values.push(...messageValues(sent, seldom))
  const sections: Section[] = []
  for (const section of records ? SECTIONS : []) {
    const items = rows.flatMap((row) => section.items(row).map((item) => ({ ...item, pid: row.process })))
    if (items.length === 0) continue
    sections.push(section)
    values.push(JSON.stringify(items))
  }
  const messages = sent.length === 0 ? 'none' : seldom ? 'seldom' : 'plain'
  return { shape: { lineage, consumed, checked, messages, sections }, values, sent }
}

function rowValues(rows: readonly Commit[], lineage: boolean): string[] {
  const values = [
    numberList(rows, (row) => row.process),
    numberList(rows, (row) => row.seq),
    numberList(rows, (row) => row.claim),
    numberList(rows, (row) => row.meta.stateVersion),
    textList(rows, (row) => row.meta.codeVersion),
    // One text per row; the ids inside are told apart by the unit separator.
    textList(rows, (row) => (row.meta.turnIds.length === 0 ? null : row.meta.turnIds.join('\u001f'))),
    textList(rows, (row) => row.payload),
  ]
  if (lineage) {
    values.push(
      textList(rows, (row) => row.meta.cause),
      textList(rows, (row) => row.meta.root),
      textList(rows, (row) => row.meta.traceparent),
      textList(rows, (row) => row.meta.actor),
    )
  }
  return values
}

function consumedValues(rows: readonly Commit[]): string[] {
  const refs = rows.flatMap((row) => (row.consumed ?? []).map(({ target, ord }) => ({ pid: row.process, target, ord })))
  return [numberList(refs, (ref) => ref.pid), textList(refs, (ref) => ref.target), numberList(refs, (ref) => ref.ord)]
}

function shapeKey(shape: Shape): string {
  const { lineage, consumed, checked, messages, sections } = shape
  return `${lineage} ${consumed} ${checked} ${messages} ${sections.map((section) => section.key).join(' ')}`
}

function statement(q: string, shape: Shape): string {
  let used = 3
  const parameter = () => `$${++used}`
  const ctes = [fence(q), incoming(parameter, shape.lineage)]
  if (shape.consumed) ctes.push(consumedRows(parameter))
  // Parameters are numbered in the order of the values; `moved` stands before messages and sections and asks for one.
  const messages =
    shape.messages === 'none'
      ? null
      : messageSql(q, parameter, { seldom: shape.messages === 'seldom', where: accepted('s.pid') })
  const sections = shape.sections.map((section) => ({ section, items: parameter() }))
  const blobs = sections.find(({ section }) => section === blobRef)?.items
  ctes.push(moved(q, shape, blobs), written(q, shape.lineage))
  const results = [
    'count(*)::int as n',
    `${ms('now()')} as at`,
    `case when count(*) < (select count(*) from incoming) then string_agg(process::text, ',') end as accepted`,
  ]
  if (shape.consumed) {
    ctes.push(gone(q))
    results.push(GUARD)
  }
  if (messages !== null) {
    ctes.push(messages)
    results.push(SENT_ORDS)
  }
  const told: string[] = []
  for (const { section, items } of sections) {
    ctes.push(sectionSql(section, q, items, shape.messages !== 'none'))
    if (section.told !== undefined) told.push(`select pid, target from ${section.told}`)
    if (section.guard !== undefined) results.push(section.guard(q))
  }
  if (told.length > 0) results.push(toldBy(told))
  return `with ${ctes.join(',\n  ')}\nselect ${results.join(', ')} from moved`
}

/** Who got a row besides the messages, by the process whose commit it was. */
function toldBy(told: readonly string[]): string {
  return `(select json_agg(json_build_array(pid, target))::text from (${told.join(' union all ')}) told) as told`
}

const ROW = 'process, seq, claim, state_version, code_version, turn_ids, payload'
const LINEAGE = ', cause, root, traceparent, actor'

/** The processes of the batch are always the fourth parameter. */
function incoming(parameter: () => string, lineage: boolean): string {
  const numbers = [bigints, bigints, bigints, bigints]
  const words = lineage ? [texts, texts, texts, texts, texts, texts, texts] : [texts, texts, texts]
  const arrays = [...numbers, ...words].map((array) => array(parameter()))
  return `incoming as materialized (
    select * from unnest(${arrays.join(', ')}) as r(${ROW}${lineage ? LINEAGE : ''}))`
}

function consumedRows(parameter: () => string): string {
  return `consumed as materialized (
    select * from unnest(${bigints(parameter())}, ${texts(parameter())}, ${bigints(parameter())})
      as c(pid, target, ord))`
}

/** @param blobs  parameter with the references of the batch, where it has some (D21) */
function moved(q: string, shape: Shape, blobs: string | undefined): string {
  let check = shape.checked
    ? `and not exists (select 1 from consumed c where c.pid = h.process and ${place(q)} is null)`
    : ''
  if (blobs !== undefined) {
    check += `
      and not exists (select 1 from json_to_recordset(${blobs}::text::json) as r(pid bigint, hash text)
        where r.pid = h.process and not ${freshBlob(q, 'r.hash')})`
  }
  return `moved as (
    update ${q}heads h set seq = h.seq + 1
    where h.process = any(${bigints('$4')}) and exists (select 1 from fence)
      and ((h.process, h.seq + 1, h.claim) in (select process, seq, claim from incoming)) is true ${check}
    returning h.process)`
}

function written(q: string, lineage: boolean): string {
  return `written as (
    insert into ${q}journal (${ROW}${lineage ? LINEAGE : ''})
    select process, seq, claim, state_version, code_version, coalesce(string_to_array(turn_ids, E'\\x1f'), '{}'),
      payload ${lineage ? LINEAGE : ''} from incoming r where ${accepted('r.process')})`
}

function gone(q: string): string {
  return `gone as (
    delete from ${q}mailbox m where m.ctid = any(array(select ${place(q)} from consumed c where ${accepted('c.pid')}))
    returning 1)`
}

/** Where a consumed row is; null when it does not exist. */
function place(q: string): string {
  return `(select t.ctid from ${q}mailbox t where t.namespace = $3::text and t.target = c.target and t.ord = c.ord)`
}

const GUARD = `1 / (case when (select count(*) from gone) =
    (select count(*) from consumed c where ${accepted('c.pid')}) then 1 else 0 end) as guard`

function outcomes(
  batch: readonly Commit[],
  rows: readonly Commit[],
  sent: readonly Sent[],
  result: Result,
): CommitOutcome[] {
  const ords = result.ords == null ? [] : result.ords.split(',').map(Number)
  if (result.n === batch.length && sent.length === 0 && result.told === undefined) {
    const outcome: CommitOutcome = { kind: 'committed', at: result.at, ords: NO_ORDS }
    return batch.map(() => outcome)
  }
  const moved = result.accepted === null ? null : new Set(result.accepted.split(',').map(Number))
  const byRow = new Map<Commit, CommitOutcome>()
  let next = 0
  for (const row of rows) {
    const count = row.messages?.length ?? 0
    const own = count === 0 ? NO_ORDS : ords.slice(next, next + count)
    next += count
    const written = result.n === batch.length || moved?.has(row.process) === true
    byRow.set(row, written ? { kind: 'committed', at: result.at, ords: own } : { kind: 'refused' })
  }
  if (result.told !== undefined) addTold(byRow, result.told)
  return batch.map((row) => byRow.get(row) ?? { kind: 'refused' })
}

function addTold(byRow: Map<Commit, CommitOutcome>, text: string | null): void {
  const told = Map.groupBy(text === null ? [] : (JSON.parse(text) as [number, string][]), ([pid]) => pid) // as TOLD
  for (const [row, outcome] of byRow) {
    if (outcome.kind !== 'committed' || (row.ends === undefined && row.requests === undefined)) continue
    const targets = new Set(told.get(row.process)?.map(([, target]) => target))
    byRow.set(row, { ...outcome, told: [...targets] })
  }
}
