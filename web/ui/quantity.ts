/** Counts and sizes as people read them. */

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const SHORT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

/** `12,408`. */
export function countText(value: number): string {
  return WHOLE.format(value)
}

/** `12.4K`, for narrow places. */
export function shortText(value: number): string {
  return value < 10_000 ? WHOLE.format(value) : SHORT.format(value)
}

/** `1 message`, `3 messages`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${count === 1 ? one : many}`
}

/** One digit after the point below ten, none above. */
export function rateText(value: number): string {
  return value < 10 ? value.toFixed(1).replace(/\.0$/, '') : shortText(Math.round(value))
}

export function bytesText(bytes: number): string {
  if (bytes < 1_024) return `${Math.round(bytes)} B`
  const units = ['KB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 'B'
  for (const next of units) {
    if (value < 1_024) break
    value /= 1_024
    unit = next
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`
}
