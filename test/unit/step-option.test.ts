/** Options of steps: everything out of bounds is refused at the verb. */
import { describe, expect, test } from 'vitest'
import type { StepOptions } from '../../server/definition/step.ts'
import { planOf, STEP_ATTEMPTS_MAX } from '../../server/journal/step-option.ts'

function refusal(
  options: unknown,
  name = 'charge',
): { code: string; message: string; detail: Record<string, unknown> } {
  try {
    planOf(name, options as StepOptions)
  } catch (error) {
    return error as ReturnType<typeof refusal> // runtime errors only
  }
  return expect.fail(`${JSON.stringify(options)} was taken`)
}

describe('[Q1] options of a step are checked at the verb', () => {
  test.each([
    [{ retry: { max: 0 } }, 'retry.max', '0', `a whole number from 1 to ${STEP_ATTEMPTS_MAX}`],
    [{ retry: { max: 1.5 } }, 'retry.max', '1.5', 'whole number'],
    [{ retry: { max: Number.POSITIVE_INFINITY } }, 'retry.max', 'Infinity', 'whole number'],
    [{ retry: { initialMs: -1 } }, 'retry.initialMs', '-1', 'from 0 to 86400000'],
    [{ retry: { factor: 0.5 } }, 'retry.factor', '0.5', 'from 1 to 100'],
    [{ retry: { maxMs: Number.NaN } }, 'retry.maxMs', 'NaN', 'from 0'],
    [{ retry: { jitter: 2 } }, 'retry.jitter', '2', 'from 0 to 1'],
    [{ retry: { retryIf: 'no' } }, 'retry.retryIf', '"no"', 'a function'],
    [{ retry: { maxAttempts: 3 } }, 'retry.maxAttempts', '3', 'one of max, initialMs'],
    [{ retry: { initialMs: 60, maxMs: 50 } }, 'retry.initialMs', '60', 'from 0 to 50'],
    [{ retry: 3 }, 'retry', '3', 'an object'],
    [{ timeoutMs: 0 }, 'timeoutMs', '0', 'from 1 to'],
    [{ timeoutMs: '5s' }, 'timeoutMs', '"5s"', 'a number'],
    [{ totalMs: -5 }, 'totalMs', '-5', 'from 1 to'],
    [{ heartbeatMs: 0 }, 'heartbeatMs', '0', 'from 1 to'],
    [{ external: 'yes' }, 'external', '"yes"', 'true or false'],
    [{ timeout: 5 }, 'timeout', '5', 'one of retry, timeoutMs'],
  ])('[Q1] %j is refused with value and bounds', (options, option, value, bounds) => {
    const { code, message, detail } = refusal(options)
    expect(code).toBe('REQUEST_INVALID')
    expect(message).toContain(`Option ${option} of step charge is ${value}; it must be `)
    expect(message).toContain(bounds)
    expect(detail).toEqual({ option })
  })

  test.each([
    ['', {}],
    ['x'.repeat(257), {}],
    ['a\u0000', {}],
    ['ok', { key: '' }],
    ['ok', { key: 'k'.repeat(257) }],
  ])('[Q1] name %j with %j is refused', (name, options) => {
    expect(refusal(options, name).code).toBe('REQUEST_INVALID')
  })

  test('[Q1] without options the defaults hold', () => {
    const defaults = { max: 3, initialMs: 200, factor: 2, maxMs: 30_000, jitter: 0.5, timeoutMs: null, totalMs: null }
    expect(planOf('charge', undefined)).toMatchObject(defaults)
    expect(planOf('charge', {})).toEqual(planOf('charge', undefined))
  })
})
