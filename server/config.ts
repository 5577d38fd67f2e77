/**
 * The only reader of process.env: everything the environment may say, typed and checked once.
 */
import { RuntimeError } from '../shared/error.ts'

export type Config = {
  /** Any Postgres instead of the embedded one. */
  databaseUrl: string | null
  /** Server that the CLI talks to. */
  serverUrl: string | null
  /** Tests: kill this process at the nth passage of a named point, and log the hit. */
  crashPoint: { name: string; nth: number; log: string } | null
  /** What the standard `OTEL_*` variables ask to be exported (observe/sdk.ts); null when they ask for nothing. */
  otel: OtelConfig | null
}

export type OtelConfig = {
  traces: boolean
  metrics: boolean
  logs: boolean
  /** null when the resource attributes of the environment name the service. */
  serviceName: string | null
  /** Whether the environment chose what is told about host and process; nothing is, unless it did. */
  detectors: boolean
  /** null when the environment sets it. */
  logLevel: string | null
}

/** Name under which a backend shows us when the environment says nothing else. */
const SERVICE_NAME = 'vivarium'
/** Trouble of the SDK is worth a line, its progress is not. */
const OTEL_LOG_LEVEL = 'warn'

/** @throws CONFIG_INVALID naming the variable */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  return {
    databaseUrl: text(env['DATABASE_URL']),
    serverUrl: text(env['VIVARIUM_URL']),
    crashPoint: crashPoint(env),
    otel: otel(env),
  }
}

function text(value: string | undefined): string | null {
  return value === undefined || value.trim() === '' ? null : value.trim()
}

function crashPoint(env: NodeJS.ProcessEnv): Config['crashPoint'] {
  const name = text(env['VIVARIUM_CRASH_POINT'])
  if (name === null) return null
  const log = text(env['VIVARIUM_CRASH_LOG'])
  const nth = Number(env['VIVARIUM_CRASH_NTH'] ?? '1')
  if (log === null || !Number.isInteger(nth) || nth < 1) {
    throw new RuntimeError(
      'CONFIG_INVALID',
      'VIVARIUM_CRASH_POINT needs VIVARIUM_CRASH_LOG (a file) and VIVARIUM_CRASH_NTH (1 or more).',
    )
  }
  return { name, nth, log }
}

function otel(env: NodeJS.ProcessEnv): OtelConfig | null {
  if (text(env['OTEL_SDK_DISABLED'])?.toLowerCase() === 'true') return null
  const everything = text(env['OTEL_CONFIG_FILE']) !== null
  const [traces, metrics, logs] = (['TRACES', 'METRICS', 'LOGS'] as const).map(
    (signal) => everything || asks(env, signal),
  )
  if (!traces && !metrics && !logs) return null
  const named = /(^|,)\s*service\.name\s*=/.test(env['OTEL_RESOURCE_ATTRIBUTES'] ?? '')
  return {
    traces: traces === true,
    metrics: metrics === true,
    logs: logs === true,
    serviceName: text(env['OTEL_SERVICE_NAME']) ?? (named ? null : SERVICE_NAME),
    detectors: text(env['OTEL_NODE_RESOURCE_DETECTORS']) !== null,
    logLevel: text(env['OTEL_LOG_LEVEL']) === null ? OTEL_LOG_LEVEL : null,
  }
}

/** A signal is wanted by an exporter other than `none`, or by an endpoint for it or for all. */
function asks(env: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS' | 'LOGS'): boolean {
  const exporter = text(env[`OTEL_${signal}_EXPORTER`])
  if (exporter !== null) return !exporter.split(',').some((name) => name.trim() === 'none')
  return [`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`, 'OTEL_EXPORTER_OTLP_ENDPOINT'].some(
    (name) => text(env[name]) !== null,
  )
}
