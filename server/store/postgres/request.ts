/**
 * M4: idempotency keys. The request and its message are inserted together by exactly one caller; everybody else gets
 * the row that exists. A settled request past its time makes room for a new one under the same key.
 */
import type { NewRequest, NodeIdentity, RequestRow, ResultWait } from '../store.ts'
import { messageSql, messageValues, SENT_ORDS } from './commit-message.ts'
import { type Context, fence } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'

type Row = {
  scope: string
  key: string
  args_hash: string
  process: string
  message_id: string
  status: RequestRow['status']
  result: string | null
}

/** Which of the messages is which. */
const START = 0
const SIGNAL = 1

const COLUMNS = 'scope, key, args_hash, process, message_id, status, result'

/** A rival that commits between our insert and our look is found by the second try; a third is never needed. */
const TRIES = 3

export async function request(
  context: Context,
  node: NodeIdentity,
  wanted: NewRequest,
): Promise<{ row: RequestRow; created: boolean; ord: number; signalOrd: number }> {
  const { scope, key, argsHash, expiresAt, message, signal } = wanted
  const sent = [{ pid: START, message }, ...(signal === undefined ? [] : [{ pid: SIGNAL, message: signal }])]
  const values = [
    ...nodeValues(node),
    ...messageValues(sent, true),
    ...[scope, key, argsHash, message.target, message.id, expiresAt],
  ]
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const [row] = await context.commit.unsafe<(Row & { alive: boolean; created: boolean; ords: string })[]>(
      requestSql(context.q),
      values,
      { prepare: true },
    )
    if (row !== undefined) {
      const [ord = 0, signalOrd = 0] = row.ords.split(',').map(Number)
      const sameArgs = row.created || row.args_hash === argsHash
      return {
        row: requestShape(row),
        created: row.created,
        ord: row.created ? ord : 0,
        signalOrd: sameArgs ? signalOrd : 0,
      }
    }
    if (!(await isAlive(context, node))) throw nodeFenced(node)
  }
  throw new Error(`Request ${scope} ${key} neither exists nor can be inserted after ${TRIES} tries.`)
}

function requestSql(q: string): string {
  let used = 3
  const parameter = () => `$${++used}`
  const message = messageSql(q, parameter, {
    seldom: true,
    where: `(exists (select 1 from made) or (s.pid = ${SIGNAL} and exists (select 1 from known)))`,
  })
  const [scope, key, hash, process, id, expires] = [1, 2, 3, 4, 5, 6].map(parameter)
  return `with ${fence(q)},
  made as (
    insert into ${q}requests as r (namespace, scope, key, args_hash, process, message_id, expires_at)
    select $3::text, ${scope}::text, ${key}::text, ${hash}::text, ${process}::text, ${id}::text,
      to_timestamp(${expires}::float8 / 1000.0) from fence
    on conflict (namespace, scope, key) do update set args_hash = excluded.args_hash, process = excluded.process,
      message_id = excluded.message_id, status = 'pending', result = null, waiters = null,
      expires_at = excluded.expires_at, at = now()
    where r.status <> 'pending' and r.expires_at <= now()
    returning r.*),
  known as (
    select 1 from ${q}requests where namespace = $3::text and scope = ${scope}::text and key = ${key}::text
      and args_hash = ${hash}::text and exists (select 1 from fence)),
  ${message}
  select m.*, true as created, ${SENT_ORDS} from (select ${COLUMNS} from made) m
  union all
  select ${COLUMNS}, false, ${SENT_ORDS} from ${q}requests
  where namespace = $3::text and scope = ${scope}::text and key = ${key}::text and not exists (select 1 from made)
    and exists (select 1 from fence)`
}

async function isAlive({ read, q }: Context, node: NodeIdentity): Promise<boolean> {
  const rows = await read.unsafe(`with ${fence(q)} select 1 from fence`, nodeValues(node), { prepare: true })
  return rows.length > 0
}

export async function requestRow(
  { read, q }: Context,
  at: { namespace: string; scope: string; key: string },
): Promise<RequestRow | null> {
  const [row] = await read.unsafe<Row[]>(
    `select ${COLUMNS} from ${q}requests where namespace = $1::text and scope = $2::text and key = $3::text`,
    [at.namespace, at.scope, at.key],
    { prepare: true },
  )
  return row === undefined ? null : requestShape(row)
}

/**
 * D45: who waits is a column of the request, so that the statement that settles it sees the latest list, whenever that
 * was written: both lock this one row. A rival that settles it between our wait and our look is seen by the next try.
 */
export async function awaitResult(
  context: Context,
  node: NodeIdentity,
  { scope, key, target, call }: ResultWait,
): Promise<{ row: RequestRow | null; kept: boolean }> {
  const values = [...nodeValues(node), scope, key, JSON.stringify([target, call])]
  for (let attempt = 1; ; attempt++) {
    const [row] = await context.read.unsafe<(Row & { kept: boolean })[]>(awaitSql(context.q), values, { prepare: true })
    if (row === undefined) return { row: null, kept: false }
    if (row.kept || row.status !== 'pending' || attempt === TRIES) return { row: requestShape(row), kept: row.kept }
  }
}

function awaitSql(q: string): string {
  return `with ${fence(q)},
  kept as (
    update ${q}requests set waiters = case when $6::text = any(waiters) then waiters
      else array_append(waiters, $6::text) end
    where namespace = $3::text and scope = $4::text and key = $5::text and status = 'pending'
      and exists (select 1 from fence)
    returning ${COLUMNS})
  select ${COLUMNS}, true as kept from kept
  union all
  select ${COLUMNS}, false from ${q}requests
  where namespace = $3::text and scope = $4::text and key = $5::text and not exists (select 1 from kept)`
}

function requestShape(row: Row): RequestRow {
  return {
    scope: row.scope,
    key: row.key,
    argsHash: row.args_hash,
    process: row.process,
    messageId: row.message_id,
    status: row.status,
    result: row.result,
  }
}
