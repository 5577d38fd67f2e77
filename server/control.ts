/**
 * The one write side of the runtime: operator verbs. Every call is audited with who, why and outcome, and every
 * call is an event.
 *
 * - C1: with `incarnation` given, a verb is refused (INCARNATION_GONE) when the process was reborn since.
 * - C2: kill cannot be trapped, refused or delayed by the process.
 * - C3: what a verb loses is said by `Inspect.plan` before, and recorded after.
 */
import type { ProcessId } from '../shared/id.ts'
import type { Value } from '../shared/value.ts'

/** Who acts and why. `actor` is `role:name`, e.g. `operator:ana`, `api:local`, `cli:root`. */
export type Act = { actor: string; reason?: string; incarnation?: number; idempotencyKey?: string }

export type ActResult = { id: ProcessId; incarnation: number; outcome: string }

export type SandboxAnswer = { readonly value: unknown } | { readonly error: unknown }

export interface Control {
  /** Untrappable. The message in hand is redelivered (one attempt) or, with `message: 'drop'`, dead-lettered. The
   *  supervisor decides on a restart. */
  kill(id: ProcessId, act: Act & { message?: 'redeliver' | 'drop' }): Promise<ActResult>
  /** Graceful end: the turn in hand finishes, `terminate` runs, and it stays down with all below it; its supervisor
   *  counts nothing and restarts nobody. The desired state becomes `stopped` (S65). */
  stop(id: ProcessId, act: Act): Promise<ActResult>
  /** Ends the process if it lives and starts it anew; a whole supervisor restarts with all its children. Costs no
   *  intensity. */
  restart(id: ProcessId, act: Act): Promise<ActResult>
  /** No new turn begins until resume; survives restarts of the process and the node. */
  suspend(id: ProcessId, act: Act): Promise<ActResult>
  /** Also starts what was stopped. */
  resume(id: ProcessId, act: Act): Promise<ActResult>
  /** Durable once resolved, for durable agents.
   *  @throws OPERATION_UNKNOWN PROCESS_NOT_FOUND MAILBOX_FULL VALUE_UNSUPPORTED */
  send(id: ProcessId, op: string, args: unknown, act: Act): Promise<{ messageId: string }>
  /** @throws as send, and CALL_TIMEOUT, CALL_REJECTED, DEAD_LETTERED, KEY_CONFLICT */
  call(id: ProcessId, op: string, args: unknown, act: Act & { timeoutMs?: number }): Promise<{ reply: Value }>
  /** E2. Replaces the state of a durable process, if it is still that of `expectedVersion`.
   *  @throws VERSION_CONFLICT  TURN_OPEN  VALUE_UNSUPPORTED */
  editState(id: ProcessId, value: unknown, act: Act & { expectedVersion: number }): Promise<ActResult>
  /** E3. Makes the state of an earlier version the newest one. Messages stay; nothing that was sent or done outside is
   *  undone. @throws VERSION_NOT_KEPT  VERSION_CONFLICT  TURN_OPEN */
  rewind(id: ProcessId, version: number, act: Act & { expectedVersion?: number }): Promise<ActResult>
  /** E4. Gives a message up, the one in hand where none is named; it becomes a dead letter, its caller hears of it. */
  skipMessage(id: ProcessId, act: Act & { message?: string }): Promise<ActResult>
  /** E5. Runs the open turn again, from its start or keeping the results before its nth (`step`), with ids of its own
   *  for what it does anew; refused when another turn than `turn` is open. @throws TURN_NOT_OPEN */
  retryTurn(id: ProcessId, act: Act & { step?: number; turn?: string }): Promise<ActResult>
  /** E8. Makes a sandbox copy: the same agent under another id, from which nothing gets out. Its state is the newest
   *  one, that of `version`, or `state`; without either the open turn goes along. The result names the copy.
   *  @throws PROCESS_EXISTS VERSION_NOT_KEPT VALUE_UNSUPPORTED REQUEST_INVALID */
  fork(id: ProcessId, act: Act & { version?: number; state?: unknown; as?: ProcessId }): Promise<ActResult>
  /** E10, E13. Gives a process what it waits for: a sandbox the request of key `step`, or the oldest one; any other one
   *  the outcome of a step from outside. @throws NOT_FOUND REQUEST_INVALID VALUE_UNSUPPORTED ALREADY_COMPLETED */
  answer(id: ProcessId, outcome: SandboxAnswer, act: Act & { step?: string }): Promise<ActResult>
  /** E12. Takes a sandbox away with all that is stored of it. @throws REQUEST_INVALID  it is none */
  discard(id: ProcessId, act: Act): Promise<ActResult>
  /** Removes a pending message; it becomes a dead letter with the reason `dropped by operator`. */
  dropMessage(id: ProcessId, messageId: string, act: Act): Promise<ActResult>
  /** Asks for the end of the turn of a message: not begun, it is taken back; else its code hears CANCELLED at a wait.
   *  Durable once resolved; of what is over nothing comes. Works on any node. Null is the message in hand.
   *  @throws PROCESS_NOT_FOUND REQUEST_INVALID  TURN_NOT_OPEN  nothing is in hand */
  cancel(id: ProcessId, messageId: string | null, act: Act): Promise<ActResult>
  /** Moves a pending message to the front with its attempts cleared. */
  redeliverMessage(id: ProcessId, messageId: string, act: Act): Promise<ActResult>
  /** Puts a dead letter back into the mailbox of its process; once per dead letter. */
  redeliverDeadLetter(deadLetterId: string, act: Act): Promise<ActResult>
  /** Gives an external step its result; one outcome counts. The token is in no audit record.
   *  @throws STEP_NOT_FOUND ALREADY_COMPLETED VALUE_UNSUPPORTED */
  completeStep(token: string, value: unknown, act: Act): Promise<ActResult>
  /** Fails an external step for good: no retry follows. @throws STEP_NOT_FOUND ALREADY_COMPLETED */
  failStep(token: string, error: unknown, act: Act): Promise<ActResult>
  /** Stores an exported process, under another id of its agent if told so; recovery looks at it.
   *  @throws FILE_INVALID REQUEST_INVALID  PROCESS_EXISTS  unless `replace`, and while a node runs it */
  importProcess(file: unknown, act: Act & { as?: ProcessId; replace?: boolean }): Promise<ActResult>
}
