/**
 * Vivarium, embedded: `import { agent, supervisor, pool, createRuntime } from 'vivarium'`.
 *
 * The only file outsiders import. Everything exported here is documented where it is declared.
 */
import { RuntimeError } from '../shared/error.ts'
import { computePlan } from './compute/option.ts'
import { readConfig } from './config.ts'
import { ArmedCrashPoint, NO_CRASH } from './crash-point.ts'
import type { AnyAgent } from './definition/agent.ts'
import { agentsOf } from './definition/supervisor.ts'
import { loadModules } from './host/module-loader.ts'
import type { RuntimeOptions } from './host/options.ts'
import { openBackend, registerNode } from './host/postgres-backend.ts'
import { Runtime } from './host/runtime-facade.ts'
import { watchOptions } from './host/thread-watch.ts'
import { checkTree } from './host/tree.ts'
import { RuntimeCore } from './runtime.ts'

export type { Diagnosis, Finding } from '../shared/doctor.ts'
export type { ErrorCode } from '../shared/error.ts'
export { RuntimeError } from '../shared/error.ts'
export type { RuntimeEvent } from '../shared/event.ts'
export type { ProcessId } from '../shared/id.ts'
export type { RecordedProcess, ReplayOutcome, ReplayReport, TurnReplay } from '../shared/recorded.ts'
export { replayText } from '../shared/recorded.ts'
export type { Value } from '../shared/value.ts'
export type { ComputePoolOptions } from './compute/option.ts'
export type { Control } from './control.ts'
export type { AgentDefinition, AgentOptions } from './definition/agent.ts'
export { agent } from './definition/agent.ts'
export { Call, type CallOptions } from './definition/call.ts'
export type { ComputeModule, ComputeOptions } from './definition/compute.ts'
export { computeModule } from './definition/compute.ts'
export type {
  Context,
  MessagePattern,
  ParentClose,
  Received,
  ReceiveOptions,
  Scope,
  ScopeOptions,
  SpawnOptions,
  StartedOperation,
  TaskHandle,
} from './definition/context.ts'
export type { InferOptions, ModelDefinition, ModelOptions } from './definition/model.ts'
export { model } from './definition/model.ts'
export type { Ref } from './definition/ref.ts'
export { Reject } from './definition/reject.ts'
export type { StandardSchema } from './definition/schema.ts'
export type {
  ExternalStepInfo,
  ExternalStepOptions,
  RetryPolicy,
  StepInfo,
  StepOptions,
} from './definition/step.ts'
export type { StreamOut } from './definition/stream.ts'
export type { PoolDefinition, PoolOptions, SupervisorDefinition, SupervisorOptions } from './definition/supervisor.ts'
export { pool, supervisor } from './definition/supervisor.ts'
export type { Transaction, TransactionOptions } from './definition/transaction.ts'
export type { Handle, StartOptions } from './host/handle.ts'
export type { RuntimeOptions } from './host/options.ts'
export { recordedFile } from './host/recorded.ts'
export { type ReplayOptions, replayTurns } from './host/replay.ts'
export type { Runtime } from './host/runtime-facade.ts'
export { diagnoseStore } from './host/store-doctor.ts'
export type {
  StoredDeadLetter,
  StoredMessage,
  StoredProcess,
  StoreReader,
  StoreReaderOptions,
} from './host/store-reader.ts'
export { readStore } from './host/store-reader.ts'
export type { StreamItem, StreamReadOptions } from './host/stream-hub.ts'
export type { DownSignal, ExitSignal } from './kernel/envelope.ts'
export type { ExitReason } from './kernel/exit.ts'
export type { Inspect } from './observe/inspect.ts'

/** Starts a runtime and resolves when its tree is up and what waited in the store is being worked on.
 *  @throws MODULE_LOAD_FAILED DEFINITION_INVALID CHILD_SPEC_INVALID CONFIG_INVALID  before anything runs
 *  @throws CHILD_START_FAILED  a static child did not start; nothing is left running
 *  @throws EMBEDDED_* STORE_UNAVAILABLE STORE_VERSION_UNSUPPORTED MIGRATION_FAILED  the database cannot be used */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const config = readConfig()
  computePlan(options.compute)
  watchOptions(options) // refuses before anything runs
  const crash = options.crash ?? (config.crashPoint === null ? NO_CRASH : armed(config.crashPoint))
  const databaseUrl = options.databaseUrl ?? (options.data === undefined ? config.databaseUrl : null)
  const loaded = await loadModules(options.modules ?? [])
  const root = options.root ?? loaded.root
  const agents = [...loaded.agents, ...(options.agents ?? [])]
  if (root !== null) checkTree(root)
  const backend =
    options.backend === undefined ? await openBackend(options, databaseUrl, crash) : await options.backend(crash)
  try {
    const node = await registerNode(
      backend,
      options,
      capabilities(root === null ? agents : [...agents, ...agentsOf(root).values()]),
    )
    const core = new RuntimeCore({ ...options, ...(root === null ? {} : { root }), agents, crash }, backend, node)
    try {
      await core.start()
    } catch (error) {
      await core.stop('start failed')
      throw error
    }
    return new Runtime(core, options)
  } catch (error) {
    await backend.close()
    throw error
  }
}

/** The agents of modules, those of their tree included. @throws MODULE_LOAD_FAILED DEFINITION_INVALID */
export async function loadAgents(modules: readonly URL[]): Promise<AnyAgent[]> {
  const { root, agents } = await loadModules(modules)
  return [...agents, ...(root === null ? [] : agentsOf(root).values())]
}

function capabilities(agents: readonly AnyAgent[]): Record<string, number> {
  return Object.fromEntries(agents.map((agent) => [agent.name, agent.version]))
}

function armed({ name, nth, log }: { name: string; nth: number; log: string }): ArmedCrashPoint {
  const point = ArmedCrashPoint.named(name, nth, log)
  if (point !== null) return point
  throw new RuntimeError('CONFIG_INVALID', `VIVARIUM_CRASH_POINT names no crash point: ${name}.`)
}
