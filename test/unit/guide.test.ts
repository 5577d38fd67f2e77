/** Code in the guides is code: each block is a module that compiles under the settings of the project. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const GUIDES = ['README.md', 'docs/compute.md', 'docs/durable-execution.md', 'docs/transactions.md']
const folders: string[] = []

afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))))

/** What the compiler says about the modules. */
async function complaints(modules: ReadonlyMap<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vivarium-guide-'))
  folders.push(folder)
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  for (const [name, text] of modules) await writeFile(join(folder, name), text)
  const compilerOptions = {
    rootDir: '/',
    paths: { vivarium: [join(root, 'server/index.ts')] },
    noUnusedLocals: false, // a block shows a part of a program
    noUnusedParameters: false,
  }
  const settings = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'], exclude: [] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(settings))
  const compile = promisify(execFile)(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { cwd: folder })
  return compile.then(
    () => '',
    (error: { stdout: string; stderr: string }) => `${error.stdout}${error.stderr}`,
  )
}

async function blocks(): Promise<Map<string, string>> {
  const modules = new Map<string, string>()
  for (const guide of GUIDES) {
    const text = await readFile(join(root, guide), 'utf8')
    const found = [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = '']) => code)
    const name = guide.replaceAll('/', '-')
    // A block that begins with the name of its file can be imported by others.
    const named = (code: string): string | undefined => /^\/\/ ([\w-]+\.ts)\n/.exec(code)?.[1]
    for (const [i, code] of found.entries()) modules.set(named(code) ?? `${name}-${i + 1}.ts`, code)
  }
  return modules
}

test('every block of code in the guides compiles, and one that does not is found', async () => {
  const modules = await blocks()
  expect(modules.size).toBeGreaterThanOrEqual(5)
  modules.set('wrong.ts', "import { agent } from 'vivarium'\nagent(1, {})\n")
  const files = new Set([...(await complaints(modules)).matchAll(/^(\S+)\(\d+,\d+\): error/gm)].map(([, file]) => file))
  expect([...files]).toEqual(['wrong.ts'])
}, 120_000)
