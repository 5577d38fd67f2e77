/**
 * The real OpenTelemetry SDK with a processor that keeps ended spans, for tests of what the runtime emits.
 * The provider is global in its process, so a test file that uses it starts and stops it itself.
 */
import { context, propagation, trace } from '@opentelemetry/api'
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node'

type Processor = NonNullable<NodeSDKConfiguration['spanProcessors']>[number]
export type Collected = Parameters<Processor['onEnd']>[0]

export class SpanCollector {
  readonly spans: Collected[] = []
  readonly #sdk: NodeSDK
  started = 0

  constructor(config: Pick<Partial<NodeSDKConfiguration>, 'sampler'> = {}) {
    const processor: Processor = {
      onStart: () => {
        this.started += 1
      },
      onEnd: (span) => void this.spans.push(span),
      forceFlush: async () => {},
      shutdown: async () => {},
    }
    this.#sdk = new NodeSDK({
      ...config,
      spanProcessors: [processor],
      metricReaders: [],
      logRecordProcessors: [],
      autoDetectResources: false,
    })
    this.#sdk.start()
  }

  named(name: string): Collected[] {
    return this.spans.filter((span) => span.name === name)
  }

  /** @throws unless exactly one ended span has the name */
  one(name: string): Collected {
    const [span, ...more] = this.named(name)
    if (span !== undefined && more.length === 0) return span
    throw new Error(
      `${more.length + (span === undefined ? 0 : 1)} spans "${name}" in [${this.spans.map((s) => s.name)}]`,
    )
  }

  async stop(): Promise<void> {
    await this.#sdk.shutdown()
    trace.disable()
    context.disable()
    propagation.disable()
  }
}
