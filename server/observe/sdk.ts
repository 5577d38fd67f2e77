/**
 * Starts the OpenTelemetry SDK for programs whose host app has none of its own. Loaded only when the environment asks
 * for it: it costs time at the start and memory that nobody else should pay.
 *
 * - A signal is exported when the standard variables ask for it; the SDK alone would export all three as soon as one
 *   is wanted. Exporters, samplers and limits read their own `OTEL_*` variables.
 * - Nothing is told about host and process unless `OTEL_NODE_RESOURCE_DETECTORS` asks for it: the SDK's own default
 *   sends the command line and the name of the user.
 */
import { randomUUID } from 'node:crypto'
import { startNodeSdk } from '@opentelemetry/sdk-node'

export type ExportRequest = {
  traces: boolean
  metrics: boolean
  logs: boolean
  /** null when the resource attributes of the environment name the service. */
  serviceName: string | null
  /** Whether the environment chose the resource detectors. */
  detectors: boolean
  /** Level of what the SDK says about its own trouble on the console; null when the environment sets it. */
  logLevel: string | null
}

export type Exporting = {
  /** Sends what is left and stops. @throws what the exporters throw when their backend cannot be reached */
  shutdown(): Promise<void>
}

export function startSdk(request: ExportRequest): Exporting {
  return startNodeSdk({
    resourceAttributes: {
      'service.instance.id': randomUUID(),
      ...(request.serviceName === null ? {} : { 'service.name': request.serviceName }),
    },
    ...(request.detectors ? {} : { resourceDetectors: [] }),
    ...(request.traces ? {} : { spanProcessors: [] }),
    ...(request.metrics ? {} : { metricReaders: [] }),
    ...(request.logs ? {} : { logRecordProcessors: [] }),
    ...(request.logLevel === null ? {} : { logLevel: request.logLevel }),
  })
}
