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
  /** The standard variables ask for an exporter (observe/sdk.ts). */
  otel: boolean
}

/** @throws CONFIG_INVALID naming the variable */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  return {
    databaseUrl: text(env['DATABASE_URL']),
    serverUrl: text(env['VIVARIUM_URL']),
    crashPoint: crashPoint(env),
    otel: wantsOtel(env),
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

function wantsOtel(env: NodeJS.ProcessEnv): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false
  const asked = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT']
  if (asked.some((name) => text(env[name]) !== null)) return true
  return ['OTEL_TRACES_EXPORTER', 'OTEL_METRICS_EXPORTER', 'OTEL_LOGS_EXPORTER'].some((name) => {
    const value = text(env[name])
    return value !== null && value !== 'none'
  })
}
