/** Strategies of supervisors, on a real kernel with virtual time. */
import { describe, expect, test } from 'vitest'
import { Bench } from '../support/kernel-bench.ts'

describe('strategies', () => {
  test('[S20] one_for_one restarts the child alone', async () => {
    const bench = new Bench()
    await bench.supervisor(['a', 'b', 'c'].map((id) => bench.child(id)))
    bench.log.length = 0
    bench.send('c/b', 'crash')
    await bench.settle()
    expect(bench.log).toEqual(['+b'])
    expect(bench.get('c/b').incarnation).toBe(2)
    expect(bench.get('c/a').incarnation).toBe(1)
  })

  test('[S21] rest_for_one: the child and what was started after it, in reverse and in order', async () => {
    const bench = new Bench()
    const ids = ['7', '3', '10', '2', '5']
    const top = await bench.supervisor(
      ids.map((id) => bench.child(id)),
      { strategy: 'rest_for_one' },
    )
    expect(bench.log).toEqual(['+7', '+3', '+10', '+2', '+5'])
    bench.log.length = 0
    bench.send('c/10', 'crash')
    await bench.settle()
    expect(bench.log).toEqual(['-5', '-2', '+10', '+2', '+5'])
    bench.log.length = 0
    await bench.kernel.stop(top.process)
    expect(bench.log).toEqual(['-5', '-2', '-10', '-3', '-7'])
  })

  test('[S22] one_for_all stops all others in reverse and starts everybody in order', async () => {
    const bench = new Bench()
    await bench.supervisor(
      ['a', 'b', 'c'].map((id) => bench.child(id)),
      { strategy: 'one_for_all' },
    )
    bench.log.length = 0
    bench.send('c/b', 'crash')
    await bench.settle()
    expect(bench.log).toEqual(['-c', '-a', '+a', '+b', '+c'])
  })
})
