/**
 * Recorded turns against other code, before it is deployed: `viv replay` and tests of users.
 *
 * - Nothing happens: steps are answered from the journal, nothing is written, sent or started (replayed-turn.ts).
 * - Turns run one after the other, each from the state it began with, upgraded to the version of the code.
 */
import { RuntimeError } from '../../shared/error.ts'
import { splitId } from '../../shared/id.ts'
import type { RecordedProcess, ReplayOutcome, ReplayReport, TurnReplay } from '../../shared/recorded.ts'
import { realClock } from '../clock.ts'
import { NO_CRASH } from '../crash-point.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { AgentEntry } from '../journal/port.ts'
import { type RecordedTurn, recordedTurns } from '../journal/recorded-turn.ts'
import { recordedOf } from '../journal/replay.ts'
import { type ReplayEnd, ReplayedTurn, type ReplayPorts, upgraded } from '../journal/replayed-turn.ts'
import { stateDiff } from '../journal/state-diff.ts'
import { Kernel } from '../kernel/kernel.ts'
import { Process } from '../kernel/process.ts'
import { Stats } from '../kernel/stats.ts'
import { realRandom } from '../random.ts'
import { agentEntry } from './agent-code.ts'

export type ReplayOptions = {
  /** The code: the agent of the process, and every agent that it refers to. */
  agents: readonly AnyAgent[]
  /** What the report calls it, default `dev`. */
  codeVersion?: string
}

/** Runs the recorded turns of a process again, open and finished ones, and says which of them would not go on.
 *  `recorded` is what `runtime.inspect.recorded(id)` gives, from a running system or kept as JSON beside a test.
 *  @throws PROCESS_NOT_FOUND  its agent is not among the agents given */
export async function replayTurns(recorded: RecordedProcess, options: ReplayOptions): Promise<ReplayReport> {
  const entries = new Map(options.agents.map((agent) => [agent.name, agentEntry(agent)]))
  const agent = entries.get(recorded.agent)
  if (agent === undefined) {
    const known = [...entries.keys()].join(', ')
    throw new RuntimeError(
      'PROCESS_NOT_FOUND',
      `The code has no agent "${recorded.agent}". It has: ${known || 'none'}.`,
    )
  }
  const ports = portsOf(entries, options.codeVersion ?? 'dev')
  const { turns: found, unrecorded } = recordedTurns(recorded)
  const turns: TurnReplay[] = []
  for (const turn of found) turns.push(await replayOne(ports, agent, recorded.id, turn))
  const ok = turns.every(({ outcome }) => outcome.kind === 'same' || outcome.kind === 'differs')
  return { process: recorded.id, turns, unrecorded, ok }
}

async function replayOne(ports: ReplayPorts, agent: AgentEntry, id: string, turn: RecordedTurn): Promise<TurnReplay> {
  const { open, end } = turn
  const about = { turn: open.turn, op: open.op, open: end.kind === 'open', results: recordedOf(open.entries).length }
  return { ...about, outcome: await outcomeOf(ports, agent, id, turn).catch(failed) }
}

async function outcomeOf(
  ports: ReplayPorts,
  agent: AgentEntry,
  id: string,
  turn: RecordedTurn,
): Promise<ReplayOutcome> {
  const { code } = agent
  if (turn.stateVersion > code.version) {
    const text = `The state is stored with version ${turn.stateVersion}; this code knows up to ${code.version}.`
    return failed(new RuntimeError('VERSION_UNSUPPORTED', text))
  }
  const { key } = splitId(id)
  const spec = { id, key, agent: code.name, kind: 'agent' as const, behaviour: { durable: true, init() {}, turn() {} } }
  const process = new Process(spec, null, new Stats(ports.clock.now()))
  return judge(agent, turn, await new ReplayedTurn(ports, agent, process, turn).run())
}

function judge(agent: AgentEntry, { end, stateVersion }: RecordedTurn, now: ReplayEnd): ReplayOutcome {
  switch (now.kind) {
    case 'diverges':
      return now
    case 'fails':
      return end.kind === 'dead' ? { kind: 'same' } : failed(now.error)
    case 'beyond':
      return { kind: 'same' }
    case 'ended': {
      if (end.kind === 'open') return { kind: 'same' }
      const changes: string[] = []
      if (end.kind === 'dead') changes.push(`it was given up; now it is ${now.how}`)
      else {
        if (end.how !== now.how) changes.push(`it was ${end.how}; now it is ${now.how}`)
        if (end.sent !== now.sent) changes.push(`it sent ${end.sent} messages; now it sends ${now.sent}`)
        changes.push(...stateDiff(upgraded(agent, end.state, stateVersion), now.state))
      }
      return changes.length === 0 ? { kind: 'same' } : { kind: 'differs', changes }
    }
    default:
      return now satisfies never
  }
}

function failed(error: unknown): Extract<ReplayOutcome, { kind: 'fails' }> {
  return { kind: 'fails', error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) }
}

function portsOf(entries: ReadonlyMap<string, AgentEntry>, codeVersion: string): ReplayPorts {
  const [clock, random] = [realClock(), realRandom()]
  const kernel = new Kernel({
    clock,
    random,
    emit: () => {},
    watching: () => false,
    around: (process, envelope, fn) => fn(process, envelope),
    tracing: () => false,
    missing: () => {},
    treeChanged: () => {},
    treeHistory: () => null,
  })
  return {
    ...{ kernel, clock, random, crash: NO_CRASH, codeVersion },
    emit: () => {},
    watching: () => false,
    tracing: { step: (_process, _name, fn) => fn(), traceparent: () => null },
    clockOffset: () => 0,
    agent: (name) => entries.get(name) ?? null,
    newId: () => random.id(),
  }
}
