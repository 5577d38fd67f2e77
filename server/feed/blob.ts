/**
 * Values read on request: bounded, named by their hash, so that an unchanged one is never sent again.
 */
import { createHash } from 'node:crypto'
import { RuntimeError } from '../../shared/error.ts'
import { BLOB_BYTES_MAX } from '../../shared/frame.ts'
import { toPlain } from '../../shared/plain.ts'
import type { JournalItem } from '../../shared/snapshot.ts'
import { type Inspect, PAGE_LIMIT_MAX } from '../observe/inspect.ts'

export type Blob = { hash: string; bytes: number; truncated: boolean; body: unknown }

/** Characters of text shown of a value that is too large to send. */
const HEAD_LENGTH = 64 * 1024

/** @param ref  `state:<id>`, `journal:<id>:<seq>`, `message:<id>:<ord>`, `failure:<failureId>`
 *  @throws REQUEST_INVALID PROCESS_NOT_FOUND NOT_FOUND */
export async function readBlob(inspect: Inspect, ref: string): Promise<Blob> {
  const at = ref.indexOf(':')
  const rest = ref.slice(at + 1)
  switch (ref.slice(0, Math.max(0, at))) {
    case 'state': {
      const { value, ...head } = await inspect.state(rest)
      return blobOf(toPlain(value), (plain) => ({ ...head, value: plain }))
    }
    case 'journal': {
      const item = await journalItem(inspect, rest)
      return blobOf(toPlain(item.payload), (plain) => plain)
    }
    case 'message':
      return blobOf(await message(inspect, rest), (plain) => plain)
    case 'failure':
      return blobOf(await failure(inspect, rest), (plain) => plain)
    default:
      throw new RuntimeError(
        'REQUEST_INVALID',
        `${JSON.stringify(ref)} names nothing: use state:, journal:, message: or failure:.`,
      )
  }
}

function blobOf(value: unknown, bodyOf: (value: unknown) => unknown): Blob {
  const text = JSON.stringify(value ?? null)
  const hash = createHash('sha256').update(text).digest('base64url').slice(0, 32)
  const bytes = Buffer.byteLength(text)
  const truncated = bytes > BLOB_BYTES_MAX
  return { hash, bytes, truncated, body: bodyOf(truncated ? text.slice(0, HEAD_LENGTH) : value) }
}

async function journalItem(inspect: Inspect, rest: string): Promise<JournalItem> {
  const [id, last] = splitLast(rest)
  const seq = Number(last)
  if (!Number.isSafeInteger(seq)) throw new RuntimeError('REQUEST_INVALID', `journal:${rest} must end in a number.`)
  const { items } = await inspect.journal(id, { before: seq + 1, limit: 1 })
  const found = items[0]
  if (found?.seq !== seq) throw new RuntimeError('NOT_FOUND', `The journal of ${id} has no entry ${seq} any more.`)
  return found
}

async function message(inspect: Inspect, rest: string): Promise<unknown> {
  const [id, ord] = splitLast(rest)
  const { items } = await inspect.mailbox(id, { limit: PAGE_LIMIT_MAX })
  const found = items.find((item) => item.messageId === ord || String(item.position) === ord)
  if (found === undefined) throw new RuntimeError('NOT_FOUND', `The mailbox of ${id} has no message ${ord} any more.`)
  return found
}

async function failure(inspect: Inspect, failureId: string): Promise<unknown> {
  const { items } = await inspect.failures({ limit: PAGE_LIMIT_MAX })
  const found = items.find((item) => item.id === failureId)
  if (found === undefined)
    throw new RuntimeError('NOT_FOUND', `There is no failure ${failureId} among the newest ones.`)
  return found
}

/** Ids may contain colons; what follows the last one does not. */
function splitLast(text: string): [string, string] {
  const at = text.lastIndexOf(':')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
