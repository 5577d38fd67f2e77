/** `ctx.log`: log lines as events of the process. Nothing is said twice: a replayed turn is silent. */
import type { RuntimeEvent } from '../../shared/event.ts'
import type { Log } from '../definition/context.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { Process } from '../kernel/process.ts'

type LogLevel = Extract<RuntimeEvent, { kind: 'log' }>['level']
type LogPorts = { clock: Clock; emit(event: RuntimeEvent): void; watching(kind: 'log'): boolean }

export function makeLog(ports: LogPorts, process: Process, silent: () => boolean): Log {
  const say = (level: LogLevel, message: string, data: unknown): void => {
    if (silent() || !ports.watching('log')) return
    const { id, incarnation } = process
    ports.emit({ kind: 'log', at: ports.clock.now(), id, incarnation, level, message, data: data ?? null })
  }
  return {
    debug: (message, data) => say('debug', message, data),
    info: (message, data) => say('info', message, data),
    warn: (message, data) => say('warn', message, data),
    error: (message, data) => say('error', message, data),
  }
}
