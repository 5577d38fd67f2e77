/** Processes by status over the last minutes, as a stacked area; the legend is also the way into the list. */
import { PROCESS_STATUSES, type ProcessStatus, type Vitals } from '../../shared/snapshot.ts'
import { Link } from '../ui/link.tsx'
import { countText } from '../ui/quantity.ts'
import { StatusMark } from './status.tsx'

/** Points drawn; one a second, so two minutes. */
const SLOTS = 120
const WIDTH = 1_000
const HEIGHT = 100

/** Bottom to top: what is calm lies at the ground, what needs a look floats on it. */
const STACK: readonly ProcessStatus[] = [
  'idle',
  'waiting',
  'running',
  'starting',
  'restarting',
  'suspended',
  'diverged',
]

export function StatusStrip({ history }: { history: readonly Vitals[] }) {
  const points = history.slice(-SLOTS)
  const last = points.at(-1)
  return (
    <div className="strip-chart">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        className="strip-svg"
        role="img"
        aria-label="Processes by status over the last two minutes"
      >
        {layersOf(points).map((layer) => (
          <path key={layer.status} d={layer.path} className={`strip-area st-fill-${layer.status}`} />
        ))}
      </svg>
      <p className="strip-axis" aria-hidden="true">
        <span>2 min ago</span>
        <span>{last === undefined ? '' : `${countText(last.total)} in all`}</span>
        <span>now</span>
      </p>
      <ul className="strip-legend">
        {PROCESS_STATUSES.filter((status) => (last?.processes[status] ?? 0) > 0).map((status) => (
          <li key={status}>
            <Link to="agents" search={{ q: `status:${status}` }} className="legend-link">
              <StatusMark status={status} />
              <span className="legend-count">{countText(last?.processes[status] ?? 0)}</span> {status}
            </Link>
          </li>
        ))}
      </ul>
    </div>
  )
}

function layersOf(points: readonly Vitals[]): { status: ProcessStatus; path: string }[] {
  if (points.length < 2) return []
  const totals = points.map((point) => STACK.reduce((sum, status) => sum + (point.processes[status] ?? 0), 0))
  const top = Math.max(1, ...totals)
  const x = (index: number) => WIDTH - ((points.length - 1 - index) * WIDTH) / (SLOTS - 1)
  const y = (value: number) => HEIGHT - (value / top) * HEIGHT
  const ground = points.map(() => 0)
  return STACK.map((status) => {
    const lower = [...ground]
    points.forEach((point, index) => {
      ground[index] = (ground[index] ?? 0) + (point.processes[status] ?? 0)
    })
    const upper = ground.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(2)}`)
    const back = lower.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(2)}`).reverse()
    return { status, path: `M${upper.join('L')}L${back.join('L')}Z` }
  })
}
