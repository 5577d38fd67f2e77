/**
 * W3C Trace Context, the one header of it that travels in envelopes and in the journal.
 * Read strictly: what is not valid is treated as absent, so that a stranger's text starts a new trace and breaks none.
 */
import { isSpanContextValid, type SpanContext } from '@opentelemetry/api'

const PATTERN = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
/** Reserved by the standard: never a version. */
const VERSION_INVALID = 'ff'

/** null when the text is absent or no valid traceparent. */
export function parseTraceparent(text: string | null): SpanContext | null {
  if (text === null) return null
  const [, version, traceId, spanId, flags, rest] = PATTERN.exec(text) ?? []
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return null
  // Version 00 has exactly four fields; a later one may have more, of which the first four are ours to read.
  if (version === VERSION_INVALID || (version === '00' && rest !== undefined)) return null
  const found: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(found) ? found : null
}

/** null for a context that leads nowhere, such as the one of a no-op span. */
export function formatTraceparent(from: SpanContext | undefined): string | null {
  if (from === undefined || !isSpanContextValid(from)) return null
  return `00-${from.traceId}-${from.spanId}-${from.traceFlags.toString(16).padStart(2, '0')}`
}
