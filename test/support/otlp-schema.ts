/**
 * The messages of the OpenTelemetry protocol 1.x as a table: field number, JSON name, type. Written from the .proto
 * files; used for both encodings, so that a field which is wrong in one of them cannot pass as the other.
 */

/** `hex` is bytes that JSON writes in hexadecimal (ids); `enum` is a number in both encodings. */
export type Scalar =
  | 'string'
  | 'bytes'
  | 'hex'
  | 'bool'
  | 'double'
  | 'enum'
  | 'uint32'
  | 'fixed32'
  | 'fixed64'
  | 'sfixed64'
  | 'int64'

export type Field = {
  readonly name: string
  readonly type: Scalar | { readonly message: string }
  readonly many: boolean
}
export type Schema = Readonly<Record<number, Field>>

const one = (name: string, type: Scalar): Field => ({ name, type, many: false })
const many = (name: string, type: Scalar): Field => ({ name, type, many: true })
const message = (name: string, of: string): Field => ({ name, type: { message: of }, many: false })
const messages = (name: string, of: string): Field => ({ name, type: { message: of }, many: true })

const DROPPED = one('droppedAttributesCount', 'uint32')

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  TraceRequest: { 1: messages('resourceSpans', 'ResourceSpans') },
  MetricsRequest: { 1: messages('resourceMetrics', 'ResourceMetrics') },
  LogsRequest: { 1: messages('resourceLogs', 'ResourceLogs') },

  Resource: { 1: messages('attributes', 'KeyValue'), 2: DROPPED },
  Scope: {
    1: one('name', 'string'),
    2: one('version', 'string'),
    3: messages('attributes', 'KeyValue'),
    4: DROPPED,
  },
  KeyValue: { 1: one('key', 'string'), 2: message('value', 'AnyValue') },
  AnyValue: {
    1: one('stringValue', 'string'),
    2: one('boolValue', 'bool'),
    3: one('intValue', 'int64'),
    4: one('doubleValue', 'double'),
    5: message('arrayValue', 'ArrayValue'),
    6: message('kvlistValue', 'KeyValueList'),
    7: one('bytesValue', 'bytes'),
  },
  ArrayValue: { 1: messages('values', 'AnyValue') },
  KeyValueList: { 1: messages('values', 'KeyValue') },

  ResourceSpans: {
    1: message('resource', 'Resource'),
    2: messages('scopeSpans', 'ScopeSpans'),
    3: one('schemaUrl', 'string'),
  },
  ScopeSpans: { 1: message('scope', 'Scope'), 2: messages('spans', 'Span'), 3: one('schemaUrl', 'string') },
  Span: {
    1: one('traceId', 'hex'),
    2: one('spanId', 'hex'),
    3: one('traceState', 'string'),
    4: one('parentSpanId', 'hex'),
    5: one('name', 'string'),
    6: one('kind', 'enum'),
    7: one('startTimeUnixNano', 'fixed64'),
    8: one('endTimeUnixNano', 'fixed64'),
    9: messages('attributes', 'KeyValue'),
    10: DROPPED,
    11: messages('events', 'Event'),
    12: one('droppedEventsCount', 'uint32'),
    13: messages('links', 'Link'),
    14: one('droppedLinksCount', 'uint32'),
    15: message('status', 'Status'),
    16: one('flags', 'fixed32'),
  },
  Event: {
    1: one('timeUnixNano', 'fixed64'),
    2: one('name', 'string'),
    3: messages('attributes', 'KeyValue'),
    4: DROPPED,
  },
  Link: {
    1: one('traceId', 'hex'),
    2: one('spanId', 'hex'),
    3: one('traceState', 'string'),
    4: messages('attributes', 'KeyValue'),
    5: DROPPED,
    6: one('flags', 'fixed32'),
  },
  Status: { 2: one('message', 'string'), 3: one('code', 'enum') },

  ResourceMetrics: {
    1: message('resource', 'Resource'),
    2: messages('scopeMetrics', 'ScopeMetrics'),
    3: one('schemaUrl', 'string'),
  },
  ScopeMetrics: { 1: message('scope', 'Scope'), 2: messages('metrics', 'Metric'), 3: one('schemaUrl', 'string') },
  Metric: {
    1: one('name', 'string'),
    2: one('description', 'string'),
    3: one('unit', 'string'),
    5: message('gauge', 'Gauge'),
    7: message('sum', 'Sum'),
    9: message('histogram', 'Histogram'),
    12: messages('metadata', 'KeyValue'),
  },
  Gauge: { 1: messages('dataPoints', 'NumberDataPoint') },
  Sum: {
    1: messages('dataPoints', 'NumberDataPoint'),
    2: one('aggregationTemporality', 'enum'),
    3: one('isMonotonic', 'bool'),
  },
  Histogram: { 1: messages('dataPoints', 'HistogramDataPoint'), 2: one('aggregationTemporality', 'enum') },
  NumberDataPoint: {
    2: one('startTimeUnixNano', 'fixed64'),
    3: one('timeUnixNano', 'fixed64'),
    4: one('asDouble', 'double'),
    5: messages('exemplars', 'Exemplar'),
    6: one('asInt', 'sfixed64'),
    7: messages('attributes', 'KeyValue'),
    8: one('flags', 'uint32'),
  },
  HistogramDataPoint: {
    2: one('startTimeUnixNano', 'fixed64'),
    3: one('timeUnixNano', 'fixed64'),
    4: one('count', 'fixed64'),
    5: one('sum', 'double'),
    6: many('bucketCounts', 'fixed64'),
    7: many('explicitBounds', 'double'),
    8: messages('exemplars', 'Exemplar'),
    9: messages('attributes', 'KeyValue'),
    10: one('flags', 'uint32'),
    11: one('min', 'double'),
    12: one('max', 'double'),
  },
  Exemplar: {
    2: one('timeUnixNano', 'fixed64'),
    3: one('asDouble', 'double'),
    4: one('spanId', 'hex'),
    5: one('traceId', 'hex'),
    6: one('asInt', 'sfixed64'),
    7: messages('filteredAttributes', 'KeyValue'),
  },

  ResourceLogs: {
    1: message('resource', 'Resource'),
    2: messages('scopeLogs', 'ScopeLogs'),
    3: one('schemaUrl', 'string'),
  },
  ScopeLogs: { 1: message('scope', 'Scope'), 2: messages('logRecords', 'LogRecord'), 3: one('schemaUrl', 'string') },
  LogRecord: {
    1: one('timeUnixNano', 'fixed64'),
    2: one('severityNumber', 'enum'),
    3: one('severityText', 'string'),
    5: message('body', 'AnyValue'),
    6: messages('attributes', 'KeyValue'),
    7: DROPPED,
    8: one('flags', 'fixed32'),
    9: one('traceId', 'hex'),
    10: one('spanId', 'hex'),
    11: one('observedTimeUnixNano', 'fixed64'),
    12: one('eventName', 'string'),
  },
}
