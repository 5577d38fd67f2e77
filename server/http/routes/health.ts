/** Probes and metrics, for load balancers and scrapers. Probes need no credentials and tell nothing but up or down. */
import { z } from 'zod'
import { PROCESS_STATUSES, type Vitals } from '../../../shared/snapshot.ts'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'

const tag = 'health'
const readySchema = z.object({ ready: z.boolean(), reasons: z.array(z.string()) })

export const healthEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'get',
    path: '/healthz',
    summary: 'The process answers',
    tag,
    role: null,
    query: noQuery,
    body: null,
    response: { status: 200, schema: z.object({ status: z.literal('ok') }), description: 'Alive' },
    handle: () => json({ status: 'ok' }),
  }),
  endpoint({
    method: 'get',
    path: '/readyz',
    summary: 'The root tree is up and the store answers; 503 with reasons when not',
    tag,
    role: null,
    query: noQuery,
    body: null,
    response: { status: 200, schema: readySchema, description: 'Ready' },
    otherwise: { status: 503, schema: readySchema, description: 'Not ready, and why' },
    handle({ deps }) {
      const state = deps.inspect.ready()
      return json(state, state.ready ? 200 : 503)
    },
  }),
  endpoint({
    method: 'get',
    path: '/metrics',
    summary: 'Vital signs in the Prometheus text format',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: z.string(), description: 'Prometheus text' },
    async handle({ deps }) {
      await deps.inspect.counted()
      return { kind: 'text', text: metricsText(deps.inspect.vitals()), type: 'text/plain; version=0.0.4' }
    },
  }),
]

function metricsText(vitals: Vitals): string {
  const lines: string[] = []
  const metric = (name: string, type: 'gauge' | 'counter', samples: readonly string[]) => {
    lines.push(`# TYPE vivarium_${name} ${type}`, ...samples.map((sample) => `vivarium_${name}${sample}`))
  }
  metric(
    'processes',
    'gauge',
    PROCESS_STATUSES.map((status) => `{status="${status}"} ${vitals.processes[status] ?? 0}`),
  )
  metric('turns_total', 'counter', [` ${vitals.turns}`])
  metric('restarts_total', 'counter', [` ${vitals.restarts}`])
  metric('failures_total', 'counter', [` ${vitals.failures}`])
  metric('dead_letters', 'gauge', [` ${vitals.deadLetters}`])
  metric('mailbox_messages', 'gauge', [` ${vitals.mailbox}`])
  metric('commit_latency_milliseconds', 'gauge', [` ${vitals.commitLatencyMs}`])
  metric('event_loop_delay_p99_milliseconds', 'gauge', [` ${vitals.eventLoopDelayP99Ms}`])
  metric('thread_utilisation_ratio', 'gauge', [` ${vitals.thread.utilisation}`])
  metric('thread_blocks_total', 'counter', [` ${vitals.thread.blocks}`])
  metric('thread_blocked_milliseconds_total', 'counter', [` ${vitals.thread.blockedMs}`])
  metric('resident_memory_bytes', 'gauge', [` ${vitals.rssBytes}`])
  metric('store_up', 'gauge', [` ${vitals.store === 'up' ? 1 : 0}`])
  metric('feed_viewers', 'gauge', [` ${vitals.feed.viewers}`])
  return `${lines.join('\n')}\n`
}
