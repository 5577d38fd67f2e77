/**
 * Process ids: the one name by which people, messages, links and URLs mean a process.
 *
 * - An id is `agent/key`; it is stable over all incarnations and never reused for something else.
 * - The agent part is an identifier; the key is any text without control characters or lone surrogates.
 * - Generated keys sort by time of creation, so a list of anonymous processes is also a history.
 */
import { RuntimeError } from './error.ts'

export type ProcessId = string

/** Units: UTF-16 code units. Long enough for a URL or an e-mail as key, short enough for an index page of Postgres. */
export const KEY_LENGTH_MAX = 256
export const AGENT_NAME_LENGTH_MAX = 64

/** Agent parts of what the runtime makes itself and every node can run: supervisors, pools, tasks, its services. */
export const RUNTIME_AGENTS: ReadonlySet<string> = new Set(['supervisor', 'pool', 'task', 'vivarium'])
/** Agent parts of addresses that are no process: messages to them wait for a client or a node. */
export const PSEUDO_AGENTS: ReadonlySet<string> = new Set(['client', 'node'])
/** Agent parts that no agent of a user has. */
export const RESERVED_AGENTS: ReadonlySet<string> = new Set([...RUNTIME_AGENTS, ...PSEUDO_AGENTS])

/** Agent parts of those that have others below them and a row that says so. */
export const OVERSEER_AGENTS: ReadonlySet<string> = new Set(['supervisor', 'pool'])

const AGENT_NAME = /^[A-Za-z][A-Za-z0-9_.-]*$/
const CONTROL = /[\u0000-\u001f\u007f]/

export function processId(agent: string, key: string): ProcessId {
  return `${agent}/${key}`
}

/** Splits at the first slash: keys may contain slashes, agent names may not. */
export function splitId(id: ProcessId): { agent: string; key: string } {
  const at = id.indexOf('/')
  return at < 0 ? { agent: id, key: '' } : { agent: id.slice(0, at), key: id.slice(at + 1) }
}

export function assertAgentName(name: string): void {
  if (name.length <= AGENT_NAME_LENGTH_MAX && AGENT_NAME.test(name)) return
  throw new RuntimeError(
    'ID_INVALID',
    `Agent name ${quote(name)} is not valid. Use a letter, then letters, digits, "_", "." or "-", ` +
      `at most ${AGENT_NAME_LENGTH_MAX} characters.`,
  )
}

export function assertKey(key: string): void {
  if (typeof key !== 'string' || key.length === 0) {
    throw new RuntimeError('ID_INVALID', `A process key must be a non-empty string, got ${quote(String(key))}.`)
  }
  if (key.length > KEY_LENGTH_MAX) {
    throw new RuntimeError(
      'ID_INVALID',
      `Process key of ${key.length} characters is longer than ${KEY_LENGTH_MAX}. Shorten or hash it: ${quote(key)}.`,
    )
  }
  if (CONTROL.test(key) || !key.isWellFormed()) {
    throw new RuntimeError('ID_INVALID', `Process key ${quote(key)} has a control character or a lone surrogate.`)
  }
}

/** Throws ID_INVALID unless `id` has the form `agent/key` with a valid agent name and key. */
export function assertProcessId(id: ProcessId): void {
  const { agent, key } = splitId(id)
  assertAgentName(agent)
  assertKey(key)
}

/** Names people give to what belongs to a process: idempotency keys, timers. They stand in an index, as keys do.
 *  @throws REQUEST_INVALID */
export function assertLabel(what: string, text: string): void {
  const fits = typeof text === 'string' && text.length > 0 && text.length <= KEY_LENGTH_MAX
  if (fits && !CONTROL.test(text) && text.isWellFormed()) return
  throw new RuntimeError(
    'REQUEST_INVALID',
    `${what} ${quote(String(text))} is not possible. Use 1 to ${KEY_LENGTH_MAX} characters, without control ` +
      'characters and lone surrogates.',
  )
}

export function processNotFound(id: ProcessId): RuntimeError {
  return new RuntimeError('PROCESS_NOT_FOUND', `There is no process ${id}.`, { detail: { id } })
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}
