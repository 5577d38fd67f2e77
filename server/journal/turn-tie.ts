/**
 * Links, monitors, names and trap_exit of a durable turn: they leave with its commit and take effect once it is stored
 * (PROTOCOL P3). Between durable processes the row is the tie; only those with ephemeral ones live in the kernel too.
 *
 * - T4: a reference follows from the turn and its position. In `activated`, which runs after each load, it follows from
 *   the incarnation instead: the monitors it makes are made once per life, not once per activation.
 * - Linking to a durable process that is not alive is heard of as an exit signal with `noproc`, as of a remote one.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertLabel, type ProcessId, RESERVED_AGENTS, splitId } from '../../shared/id.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { SpawnOptions } from '../definition/context.ts'
import type { LinkChange } from '../store/store.ts'
import { nameHere } from './branch.ts'
import { lives } from './finish.ts'
import type { DurablePorts } from './port.ts'
import { PLAIN } from './step-option.ts'
import { linkKey, monitorKey, type Tie } from './tie-book.ts'
import { tieInMemory } from './tie-signal.ts'
import type { Turn } from './turn.ts'
import { requestStep } from './turn-step.ts'

export function linkInTurn(turn: Turn, peer: ProcessId): void {
  turn.assertOpen()
  if (peer === turn.process.id) return
  const { kernel } = turn.ports
  const ephemeral = isEphemeral(turn.ports, peer)
  if (ephemeral && !turn.process.trapExit && kernel.find(peer)?.alive !== true) {
    throw new RuntimeError('LINK_NO_PROCESS', `${turn.process.id} cannot link to ${peer}, which is not alive.`)
  }
  tie(turn, { kind: 'link', peer, ephemeral })
}

export function unlinkInTurn(turn: Turn, peer: ProcessId): void {
  turn.assertOpen()
  change(turn, { kind: 'unlink', peer })
  effect(turn, () => turn.ports.kernel.unlink(turn.process, peer))
}

export function monitorInTurn(turn: Turn, peer: ProcessId): string {
  turn.assertOpen()
  const place = turn.key(`monitor:${peer}`)
  const ref = turn.isHook ? `activated.${turn.incarnation}.${place}` : `${nameHere(turn)}.${place}`
  if (peer !== turn.process.id) tie(turn, { kind: 'monitor', peer, ref, ephemeral: isEphemeral(turn.ports, peer) })
  return ref
}

export function demonitorInTurn(turn: Turn, ref: string): void {
  turn.assertOpen()
  change(turn, { kind: 'demonitor', ref })
  effect(turn, () => turn.ports.kernel.demonitor(turn.process, ref, { flush: true }))
}

/** P9. @throws REQUEST_INVALID  a policy that does not exist for processes, a child without a row */
export function assertCloses(child: AnyAgent, id: ProcessId, parentClose: unknown): void {
  if (parentClose === undefined || parentClose === 'detach') return
  if (parentClose !== 'stop') {
    const why = parentClose === 'wait' ? 'A process does not complete, so nobody can wait for its end' : 'Unknown'
    throw new RuntimeError(
      'REQUEST_INVALID',
      `parentClose of ${id} is "${String(parentClose)}". ${why}; use stop or detach.`,
    )
  }
  if (child.durable) return
  throw new RuntimeError(
    'REQUEST_INVALID',
    `${id} is ephemeral and has no row that could close with its parent. Link to it.`,
  )
}

/** Ties of a process that this turn spawns. */
export function tieChild(turn: Turn, child: ProcessId, options: SpawnOptions): void {
  if (options.parentClose === 'stop') change(turn, { kind: 'child', peer: child })
  const ephemeral = isEphemeral(turn.ports, child)
  if (options.link === true) tie(turn, { kind: 'link', peer: child, ephemeral })
  if (options.monitor === true) {
    tie(turn, { kind: 'monitor', peer: child, ref: `${nameHere(turn)}.${turn.key(`monitor:${child}`)}`, ephemeral })
  }
}

/** At once in memory, so that it protects this very turn; stored with it. */
export function trapExitInTurn(turn: Turn, on: boolean): void {
  turn.assertOpen()
  const { process, outbox } = turn
  if (process.trapExit === on) return
  turn.trapBefore ??= process.trapExit
  turn.ports.kernel.setTrapExit(process, on)
  outbox.part.patch = { ...outbox.part.patch, trapExit: on }
  effect(turn, () => {
    turn.record.trapExit = on
  })
}

/** Asks the store first, as a recorded step; the commit decides.
 *  @throws NAME_TAKEN */
export async function registerInTurn(turn: Turn, name: string): Promise<void> {
  const holder = await whereisInTurn(turn, name)
  turn.assertOpen()
  // A copy that is replayed went on where its original holds the name (E9).
  if (holder !== null && holder !== turn.process.id && holder !== turn.record.sandbox) throw nameTaken(name, holder)
  turn.outbox.part.names = [...(turn.outbox.part.names ?? []), { kind: 'register', name }]
  effect(turn, () => turn.record.tie().names.add(name))
}

export function unregisterInTurn(turn: Turn, name: string): void {
  turn.assertOpen()
  turn.outbox.part.names = [...(turn.outbox.part.names ?? []), { kind: 'unregister', name }]
  effect(turn, () => turn.record.tie().names.delete(name))
}

export function whereisInTurn(turn: Turn, name: string): Promise<ProcessId | null> {
  turn.assertOpen()
  assertLabel('Name', name)
  const fn = (): Promise<ProcessId | null> => turn.ports.whereis(name)
  const key = `whereis:${name}`
  const found = requestStep(turn, { name: key, key: turn.key(key), plan: PLAIN, fn })
  return found as Promise<ProcessId | null> // recorded as what it gave
}

export function nameTaken(name: string, holder: ProcessId): RuntimeError {
  return new RuntimeError('NAME_TAKEN', `The name ${name} belongs to ${holder}.`, { detail: { holder } })
}

function tie(turn: Turn, made: Tie): void {
  const { ephemeral, ...rest } = made
  change(turn, ephemeral ? made : (rest as LinkChange)) // the same union without the flag
  if (!ephemeral) return
  const key = made.kind === 'link' ? linkKey(made.peer) : monitorKey(made.ref)
  // Known already: a tie that `activated` made in an earlier activation of this life.
  if (turn.record.ties?.has(key) === true) return
  effect(turn, () => tieInMemory(turn.ports.kernel, turn.process, made))
}

function change(turn: Turn, made: LinkChange): void {
  turn.outbox.part.links = [...(turn.outbox.part.links ?? []), made]
}

/** Runs once the commit is stored, while that life goes on. */
function effect(turn: Turn, run: () => void): void {
  turn.outbox.after.push(() => {
    if (lives(turn)) run()
  })
}

/** Whether its end is told in memory: it is in no store, or its row is no life (the ledger of a supervisor). */
function isEphemeral({ kernel, agent }: DurablePorts, id: ProcessId): boolean {
  const process = kernel.find(id)
  if (process !== undefined) return !process.durable
  const { agent: name } = splitId(id)
  return RESERVED_AGENTS.has(name) || agent(name)?.definition.durable === false
}
