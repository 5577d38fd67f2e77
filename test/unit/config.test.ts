/** What the environment says: which signals are exported, and under which name. */
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../server/config.ts'

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }

describe('OTEL_*', () => {
  test('[O11] nothing is exported unless a standard variable asks', () => {
    expect(readConfig({}).otel).toBeNull()
    expect(readConfig({ OTEL_SERVICE_NAME: 'shop', OTEL_TRACES_EXPORTER: 'none' }).otel).toBeNull()
    expect(readConfig({ ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' }).otel).toBeNull()
    expect(readConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: '  ' }).otel).toBeNull()
  })

  test('[O11] an endpoint asks for every signal, an exporter or endpoint of one signal for that one', () => {
    const all = { traces: true, metrics: true, logs: true, serviceName: 'vivarium', detectors: false, logLevel: 'warn' }
    expect(readConfig(ENDPOINT).otel).toEqual(all)
    expect(readConfig({ OTEL_CONFIG_FILE: 'otel.yaml' }).otel).toEqual(all)
    expect(readConfig({ ...ENDPOINT, OTEL_LOGS_EXPORTER: 'none' }).otel).toEqual({ ...all, logs: false })
    expect(readConfig({ OTEL_TRACES_EXPORTER: 'console' }).otel).toEqual({ ...all, metrics: false, logs: false })
    expect(readConfig({ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://127.0.0.1:1' }).otel).toEqual({
      ...all,
      traces: false,
      logs: false,
    })
  })

  test('[O11] a name, level or detector that the environment sets wins', () => {
    expect(readConfig({ ...ENDPOINT, OTEL_SERVICE_NAME: 'shop' }).otel?.serviceName).toBe('shop')
    expect(readConfig({ ...ENDPOINT, OTEL_RESOURCE_ATTRIBUTES: 'a=b, service.name=shop' }).otel?.serviceName).toBeNull()
    expect(readConfig({ ...ENDPOINT, OTEL_RESOURCE_ATTRIBUTES: 'my.service.name=shop' }).otel?.serviceName).toBe(
      'vivarium',
    )
    expect(readConfig({ ...ENDPOINT, OTEL_NODE_RESOURCE_DETECTORS: 'host' }).otel?.detectors).toBe(true)
    expect(readConfig({ ...ENDPOINT, OTEL_LOG_LEVEL: 'debug' }).otel?.logLevel).toBeNull()
  })
})

test('a crash point without a log or with a bad count is refused by its name', () => {
  expect(() => readConfig({ VIVARIUM_CRASH_POINT: 'x' })).toThrow(/VIVARIUM_CRASH_POINT needs/)
  expect(() => readConfig({ VIVARIUM_CRASH_POINT: 'x', VIVARIUM_CRASH_LOG: 'f', VIVARIUM_CRASH_NTH: '0' })).toThrow()
})
