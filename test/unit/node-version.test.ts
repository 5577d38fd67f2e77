import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const check = fileURLToPath(new URL('../../server/node-version.cjs', import.meta.url))

/** Runs the check in a child that believes to be another Node. */
function runAs(version: string): { code: number | null; stderr: string } {
  const pretend = `Object.defineProperty(process, 'versions', { value: { node: '${version}' } })
    Object.defineProperty(process, 'version', { value: 'v${version}' })
    require(${JSON.stringify(check)})`
  const { status, stderr } = spawnSync(process.execPath, ['--eval', pretend], { encoding: 'utf8' })
  return { code: status, stderr }
}

test('an old Node is refused with its version, its path and what to do', () => {
  const { code, stderr } = runAs('20.20.2')
  expect(code).toBe(1)
  expect(stderr).toContain('vivarium needs Node >= 24, this is v20.20.2')
  expect(stderr).toContain(process.execPath)
  expect(stderr).toContain('npm ci')
})

test.each(['24.0.0', '26.9.0'])('Node %s is accepted in silence', (version) => {
  expect(runAs(version)).toEqual({ code: 0, stderr: '' })
})
