import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

type Run = { code: number; lastLine: string | undefined }

/** Runs Vitest with the reporter on test files of its own, as `npm test` does. */
async function runVitest(files: Record<string, string>): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), 'vivarium-totals-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  await mkdir(join(folder, 'cases'))
  const config = `import { TotalsReporter } from ${JSON.stringify(join(root, 'test/support/totals.ts'))}
    export default { test: { reporters: ['default', new TotalsReporter()], include: ['cases/*.ts'] } }`
  await writeFile(join(folder, 'vitest.config.mts'), config)
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, 'cases', name), `import { beforeAll, expect, test } from 'vitest'\n${text}`)
  }
  const child = join(root, 'node_modules/vitest/vitest.mjs')
  return new Promise((resolve) => {
    execFile(process.execPath, [child, 'run', '--root', folder], { cwd: folder }, (error, stdout) => {
      resolve({ code: Number(error?.code ?? 0), lastLine: stdout.trimEnd().split('\n').at(-1) })
    })
  })
}

test('the last line sums all files, and what fails outside a test counts as failed', { timeout: 20_000 }, async () => {
  const run = await runVitest({
    'a.ts': "test('good', () => {}); test('bad', () => expect(1).toBe(2)); test.skip('later', () => {})",
    'b.ts': "import './missing.ts'",
    'c.ts': "beforeAll(() => { throw new Error('hook') }); test('never run', () => {})",
  })
  expect(run).toEqual({ code: 1, lastLine: '1 passed, 3 failed, 2 skipped' })
})

test('a run in which no test ran fails', { timeout: 20_000 }, async () => {
  const run = await runVitest({ 'a.ts': "test.skip('later', () => {})" })
  expect(run).toEqual({ code: 1, lastLine: '0 passed, 0 failed, 1 skipped' })
})

test('a good run exits with 0', { timeout: 20_000 }, async () => {
  expect(await runVitest({ 'a.ts': "test('good', () => {})" })).toEqual({
    code: 0,
    lastLine: '1 passed, 0 failed, 0 skipped',
  })
})
