/**
 * Tokens of external steps, and the one door through which their outcomes go.
 *
 * - A token names process, turn and step, and holds a secret that only the journal and whoever got it know.
 * - The outcome is a request row and a reply message to the process, inserted together by exactly one caller: whoever
 *   comes second, the runtime's own time limit included, finds the row (ALREADY_COMPLETED).
 * - The message is stored: it reaches the owner on whatever node, now or when the process is in memory again.
 */
import { createHash } from 'node:crypto'
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import { type Lineage, NO_LINEAGE } from '../kernel/envelope.ts'
import type { MessageRow, RequestResult } from '../store/store.ts'
import type { Outcome } from './entry.ts'
import { encodeOutcome, newMessage } from './message.ts'
import type { DurablePorts } from './port.ts'

export type StepAddress = { process: ProcessId; turn: string; key: string }

const PREFIX = 'st_'
/** Of a row that says no more than that there was an outcome. */
const NOTHING = encodeOutcome({ ok: null satisfies Value })
/** Characters. Ids and keys are bounded; what is longer was made by nobody here. */
const TOKEN_CHARACTERS_MAX = 4_096

export function makeToken({ process, turn, key }: StepAddress, secret: string): string {
  return PREFIX + Buffer.from(JSON.stringify([process, turn, key, secret])).toString('base64url')
}

/** Null when this is no token. */
export function readToken(token: string): StepAddress | null {
  if (typeof token !== 'string' || token.length > TOKEN_CHARACTERS_MAX || !token.startsWith(PREFIX)) return null
  try {
    const parts: unknown = JSON.parse(Buffer.from(token.slice(PREFIX.length), 'base64url').toString())
    if (!Array.isArray(parts) || parts.length !== 4) return null
    const [process, turn, key] = parts as unknown[]
    if (typeof process !== 'string' || typeof turn !== 'string' || typeof key !== 'string') return null
    return { process, turn, key }
  } catch {
    return null // not JSON: made by nobody here
  }
}

/** Of the request row that holds the outcome; the token itself stays out of the table, it is a secret. */
export function outcomeKey(token: string): string {
  return `step:${createHash('sha256').update(token).digest('base64url')}`
}

/** Name under which the process waits for the outcome. */
export function waitName({ turn, key }: Pick<StepAddress, 'turn' | 'key'>): string {
  return `${turn}/${key}`
}

export type Door = Pick<DurablePorts, 'store' | 'crash' | 'node' | 'deliver' | 'newId'> & {
  /** Epoch ms of the store. */
  storeNow(): number
}

/** True for the one outcome that counts. @throws FENCED, StoreFailure */
export async function settleToken(
  door: Door,
  { token, address, out }: { token: string; address: StepAddress; out: Outcome },
  lineage: Lineage = NO_LINEAGE,
): Promise<boolean> {
  const id = door.newId()
  const key = outcomeKey(token)
  const message = {
    ...newMessage({
      id,
      target: address.process,
      kind: 'reply',
      op: waitName(address),
      args: null,
      sender: null,
      n: 0,
      lineage: { ...lineage, root: lineage.root ?? id },
      replyTo: { kind: 'request', scope: address.process, key },
    }),
    args: encodeOutcome(out),
  }
  const wanted = { scope: address.process, key, argsHash: '', expiresAt: null, message }
  const { created, ord } = await door.store.request(door.node(), wanted)
  if (created) door.crash.hit('external:outcome-stored')
  if (created) door.deliver({ ...message, ord, at: door.storeNow(), attempts: 0, recoveries: 0 })
  return created
}

/** The owner took the outcome: its row is settled with the step. */
export function takenOutcome(process: ProcessId, token: string, out: Outcome): RequestResult {
  const status = 'ok' in out ? 'done' : 'failed'
  return { scope: process, key: outcomeKey(token), status, result: NOTHING }
}

/** Its step was over when the outcome came: the row is settled all the same, so that it goes with its time (G6). */
export function lateOutcomes({ kind, replyTo }: Pick<MessageRow, 'kind' | 'replyTo'>): RequestResult[] {
  if (kind !== 'reply' || replyTo?.kind !== 'request') return []
  return [{ scope: replyTo.scope, key: replyTo.key, status: 'failed', result: NOTHING }]
}
