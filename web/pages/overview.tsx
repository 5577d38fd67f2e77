/** Overview: four sentences first, then what needs a person, then the vital signs. */
import type { Vitals } from '../../shared/snapshot.ts'
import { LatestFailures } from '../components/latest-failures.tsx'
import { NeedList, useNeeds } from '../components/need-list.tsx'
import { StatusStrip } from '../components/status-strip.tsx'
import { VitalTile } from '../components/vital-tile.tsx'
import { useVitals } from '../components/vitals.ts'
import { durationText, workText } from '../ui/duration.ts'
import { Link } from '../ui/link.tsx'
import { bytesText, countText, plural, rateText } from '../ui/quantity.ts'

export function OverviewPage() {
  const history = useVitals()
  const vitals = history.at(-1)
  return (
    <div className="page overview">
      <h1 className="sr-only">Overview</h1>
      <Sentences vitals={vitals} />
      <div className="overview-grid">
        <section className="panel" aria-labelledby="needs-title">
          <h2 id="needs-title">Needs you</h2>
          <NeedList />
        </section>
        <section className="panel" aria-labelledby="status-title">
          <h2 id="status-title">Processes by status</h2>
          <StatusStrip history={history} />
        </section>
      </div>
      <section className="panel panel-flush" aria-labelledby="vitals-title">
        <h2 id="vitals-title">Vital signs</h2>
        {vitals === undefined ? null : <VitalGrid vitals={vitals} history={history} />}
      </section>
      <section className="panel panel-last" aria-labelledby="failures-title">
        <h2 id="failures-title">Latest failures</h2>
        <LatestFailures />
      </section>
    </div>
  )
}

const BY_RESTARTS = { sort: 'restarts', dir: 'desc', mode: 'flat' }

function Sentences({ vitals }: { vitals: Vitals | undefined }) {
  const needs = useNeeds()
  if (vitals === undefined) return <p className="sentences sentences-wait">Asking the server for its vital signs…</p>
  const of = (kind: string) => needs.filter((need) => need.kind === kind).length
  const stuck = of('stuck')
  const loops = of('crash-loop')
  const near = of('near-limit') + of('gave-up')
  return (
    <p className="sentences">
      <Link to="agents" className="sentence">
        <b>{countText(vitals.total)}</b> {vitals.total === 1 ? 'process' : 'processes'},{' '}
        <b>{countText(vitals.processes.running + vitals.processes.waiting)}</b> at work.
      </Link>{' '}
      <Link to="agents" search={{ q: 'wait.age>60s' }} className={`sentence${stuck > 0 ? ' sentence-warning' : ''}`}>
        <b>{stuck === 0 ? 'None' : countText(stuck)}</b> stuck
      </Link>
      {', '}
      <Link to="agents" search={BY_RESTARTS} className={`sentence${loops > 0 ? ' sentence-warning' : ''}`}>
        <b>{loops === 0 ? 'none' : countText(loops)}</b> in a crash loop.
      </Link>{' '}
      <Link to="agents" search={{ q: 'kind:supervisor' }} className={`sentence${near > 0 ? ' sentence-critical' : ''}`}>
        <b>{near === 0 ? 'No' : countText(near)}</b> {near < 2 ? 'supervisor' : 'supervisors'} near or past{' '}
        {near < 2 ? 'its' : 'their'} restart limit.
      </Link>{' '}
      <Link to="failures" className={`sentence${vitals.store === 'down' ? ' sentence-critical' : ''}`}>
        {vitals.store === 'up' ? (
          <>
            <b>{rateText(vitals.turnsPerSecond)}</b> turns a second, stored within <b>{latencyText(vitals)}</b>.
          </>
        ) : (
          <b>The store is down; work waits.</b>
        )}
      </Link>
    </p>
  )
}

/** Milliseconds from which a number is set in the warning colour: a person starts to notice. */
const DELAY_HIGH_MS = 50

function VitalGrid({ vitals, history }: { vitals: Vitals; history: readonly Vitals[] }) {
  const series = (pick: (vitals: Vitals) => number) => history.map(pick)
  return (
    <div className="vital-grid">
      <VitalTile
        title="Turns"
        value={rateText(vitals.turnsPerSecond)}
        unit="/s"
        note={`${countText(vitals.turns)} since start`}
        values={series((v) => v.turnsPerSecond)}
      />
      <VitalTile
        title="Commit latency"
        value={vitals.commitLatencyMs.toFixed(vitals.commitLatencyMs < 10 ? 1 : 0)}
        unit="ms"
        note={`${rateText(vitals.commitsPerSecond)} commits/s, rows a commit: ${rateText(vitals.commitRowsPerBatch)}`}
        values={series((v) => v.commitLatencyMs)}
        tone={vitals.commitLatencyMs > DELAY_HIGH_MS ? 'warning' : 'plain'}
      />
      <VitalTile
        title="Event-loop delay"
        value={vitals.eventLoopDelayP99Ms.toFixed(1)}
        unit="ms p99"
        note={threadText(vitals)}
        values={series((v) => v.eventLoopDelayP99Ms)}
        tone={vitals.eventLoopDelayP99Ms > DELAY_HIGH_MS ? 'warning' : 'plain'}
      />
      <VitalTile
        title="Mailboxes"
        value={countText(vitals.mailbox)}
        unit={vitals.mailbox === 1 ? 'message waits' : 'messages wait'}
        note={plural(vitals.deadLetters, 'dead letter')}
        values={series((v) => v.mailbox)}
      />
      <VitalTile
        title="Memory"
        value={bytesText(vitals.rssBytes)}
        unit="resident"
        note={`${bytesText(vitals.heapBytes)} heap`}
        values={series((v) => v.rssBytes)}
      />
      <VitalTile
        title="Failures"
        value={countText(vitals.failures)}
        unit="since start"
        note={`${plural(vitals.restarts, 'restart')}, up ${durationText(vitals.uptimeMs)}, store ${vitals.store}`}
        values={rises(series((v) => v.failures))}
        tone={vitals.store === 'down' ? 'critical' : 'plain'}
      />
    </div>
  )
}

/** `held` stays after the page of needs has forgotten it: a counter since the start. */
function threadText({ cpuPercent, thread }: Vitals): string {
  const { gcMs, blocks, longest } = thread
  const held = longest === null ? '' : `; held ${plural(blocks, 'time')}, up to ${workText(longest.durationMs)}`
  return `${cpuPercent.toFixed(0)} % CPU, GC ${gcMs.toFixed(0)} ms${held}`
}

/** A counter as what it rose by from value to value. */
function rises(values: readonly number[]): number[] {
  return values.map((value, index) => Math.max(0, value - (values[index - 1] ?? value)))
}

function latencyText(vitals: Vitals): string {
  const ms = vitals.commitLatencyMs
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
