/** Options of `createRuntime`, with their defaults; what is left out comes from config.ts or the constants named. */

import type { ComputePoolOptions } from '../compute/option.ts'
import type { CrashPoints } from '../crash-point.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { PoolDefinition, SupervisorDefinition } from '../definition/supervisor.ts'
import type { Clock, Random } from '../kernel/clock-port.ts'
import type { Process } from '../kernel/process.ts'
import type { Telemetry } from '../observe/telemetry.ts'
import type { WatchOptions } from '../scheduler/watchdog.ts'
import type { Backend } from './backend.ts'

export type RuntimeOptions = {
  /** Agent modules (file URLs): default export is the tree, exported agents are known by name. */
  modules?: readonly URL[]
  /** The tree itself, instead of modules. */
  root?: SupervisorDefinition | PoolDefinition
  /** Agents that no tree names; each gets a pool of its own. */
  agents?: readonly AnyAgent[]
  /** Folder of the embedded database. Default `.vivarium` in the working directory. */
  data?: string
  /** Any other Postgres (15 and later) instead of the embedded one. Default: DATABASE_URL. */
  databaseUrl?: string
  /** Postgres schema of the tables, default `vivarium`. Two runtimes may use two schemas of one database. */
  schema?: string
  /** Part of every key; runtimes of one namespace are nodes of one system. Default `default`. */
  namespace?: string
  /** Name of this node for people. Default host:pid. */
  name?: string
  /** Version of the agents' code for the journal; default is the package version of the app, if it can be found. */
  codeVersion?: string
  /** Milliseconds a drain may take before open turns are parked, default 8_000. */
  drainMs?: number
  /** Threads for CPU work (`ctx.task` of a compute module): how many, how large, how many tasks may wait. */
  compute?: ComputePoolOptions
  /** Who holds the thread of the agents for longer than `warnMs` (default 250, at least 200) is told as `thread:block`,
   *  with the live stack. A thread of its own looks for it; `false` starts none. */
  watchdog?: false | WatchOptions
  /** Start the OpenTelemetry SDK if the standard `OTEL_*` variables ask for it (docs/telemetry.md). For programs
   *  without a setup of their own; default false. */
  exportTelemetry?: boolean

  /** Seams for tests. */
  backend?: (crash: CrashPoints) => Promise<Backend>
  clock?: Clock
  random?: Random
  crash?: CrashPoints
  telemetry?: Telemetry<Process>
}

export const DRAIN_MS = 8_000
export const DATA_DEFAULT = '.vivarium'
export const NAMESPACE_DEFAULT = 'default'
