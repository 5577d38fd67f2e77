/** One vital sign: its value now, and its line over the last minutes. */
import { Sparkline } from '../ui/sparkline.tsx'

type VitalTileProps = {
  title: string
  value: string
  unit: string
  note?: string
  values: readonly number[]
  tone?: 'plain' | 'warning' | 'critical'
}

export function VitalTile({ title, value, unit, note, values, tone = 'plain' }: VitalTileProps) {
  return (
    <div className={`vital vital-${tone}`}>
      <h3>{title}</h3>
      <p className="vital-value">
        {value} <span className="vital-unit">{unit}</span>
      </p>
      <Sparkline values={values} label={`${title} over the last minutes, now ${value} ${unit}`} />
      <p className="vital-note">{note ?? '\u00a0'}</p>
    </div>
  )
}
