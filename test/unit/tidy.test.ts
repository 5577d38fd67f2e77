/** Each tidy check finds a planted violation and accepts its corrected form: a green tidy run means something. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Areas, checkArrows } from '../support/tidy/arrow.ts'
import {
  checkDefaultExports,
  checkGlobal,
  checkModuleState,
  checkNames,
  checkSeams,
  checkSize,
} from '../support/tidy/code.ts'
import {
  checkCrashPoints,
  checkDocumentPaths,
  checkRules,
  checkSameNames,
  readEntries,
  readKinds,
  readRows,
  readRules,
  readTestIds,
} from '../support/tidy/document.ts'
import { checkRoot, checkVersions, readDependencies } from '../support/tidy/manifest.ts'
import { checkProjects, checkReach } from '../support/tidy/reach.ts'
import { formatViolation, readSources, type Source, type Violation } from '../support/tidy/source.ts'

const file = (path: string, ...lines: string[]): Source => ({ path, text: `${lines.join('\n')}\n` })
const places = (found: readonly Violation[]): string[] => found.map(({ path, line }) => `${path}:${line}`)

const AREAS: Areas = {
  shared: { imports: [], packages: ['zod'], builtins: false },
  'server/kernel': { imports: ['shared'], packages: [], builtins: false },
  'server/store': { imports: ['shared', 'server/store/store.ts'], packages: ['postgres'], builtins: true },
  'server/store/store.ts': { imports: ['shared'], packages: [], builtins: false },
  test: { imports: ['*'], packages: ['*'], builtins: true },
}

describe('arrows', () => {
  const kernel = (...lines: string[]): Violation[] => checkArrows([file('server/kernel/mailbox.ts', ...lines)], AREAS)

  test('an import against the direction names both ends and what is allowed', () => {
    const [found, ...rest] = kernel(
      "import { id } from '../../shared/id.ts'",
      "import { row } from '../store/schema.ts'",
    )
    expect(rest).toEqual([])
    expect(found && formatViolation(found)).toMatch(/^server\/kernel\/mailbox\.ts:2 server\/kernel must not import/)
    expect(found?.message).toContain('it may import shared')
  })

  test.each([
    ['a type', "import type { Row } from '../store/store.ts'"],
    ['a re-export', "export { row } from '../store/store.ts'"],
    ['a dynamic import', "const m = await import('../store/store.ts')"],
    ['a type in place', "type Row = import('../store/store.ts').Row"],
    ['a package', "import postgres from 'postgres'"],
    ['a sub-path of a package', "import { z } from 'zod/mini'"],
    ['a module that does I/O', "import { readFile } from 'node:fs/promises'"],
  ])('%s is an arrow as well', (_, line) => {
    expect(places(kernel(line))).toEqual(['server/kernel/mailbox.ts:1'])
  })

  test('the area itself, what is listed, and a single file inside another area are accepted', () => {
    const good = [
      file('server/store/postgres.ts', "import postgres from 'postgres'", "import type { Store } from './store.ts'"),
      file(
        'server/kernel/exit.ts',
        "import { mailbox } from './mailbox.ts'",
        "import { id } from '../../shared/id.ts'",
      ),
      file('test/unit/x.test.ts', "import { mailbox } from '../../server/kernel/mailbox.ts'"),
    ]
    expect(checkArrows(good, AREAS)).toEqual([])
    expect(
      places(checkArrows([file('server/store/store.ts', "import { q } from './postgres.ts'")], AREAS)),
    ).toHaveLength(1)
  })

  test('a file of no area is refused', () => {
    expect(places(checkArrows([file('server/misplaced.ts')], AREAS))).toEqual(['server/misplaced.ts:1'])
  })
})

describe('code', () => {
  test('long files and long lines', () => {
    const long = Array.from({ length: 501 }, () => '//')
    expect(places(checkSize([file('server/a.ts', ...long)]))).toEqual(['server/a.ts:501'])
    expect(places(checkSize([file('server/a.ts', '', 'x'.repeat(121))]))).toEqual(['server/a.ts:2'])
    expect(checkSize([file('server/a.ts', ...long.slice(1)), file('server/b.ts', 'x'.repeat(120))])).toEqual([])
  })

  test.each([
    'server/utils.ts',
    'server/lib/clock.ts',
    'web/table-helpers.tsx',
    'server/kernel/types.ts',
    'server/Big.ts',
  ])('the name of %s', (path) => expect(checkNames([file(path)])).toHaveLength(1))

  test('names that say what they own are accepted', () => {
    expect(checkNames([file('server/kernel/exit-reason.ts'), file('web/ui/table.tsx')])).toEqual([])
  })

  test.each([
    'Date.now()',
    'Math.random()',
    'performance.now()',
    'new Date()',
    'setTimeout(run, 1)',
    'globalThis.setInterval(run, 1)',
    "import { setTimeout as sleep } from 'node:timers/promises'",
  ])('%s outside a seam', (line) => {
    expect(places(checkSeams([file('server/a.ts', line)], []))).toEqual(['server/a.ts:1'])
    expect(checkSeams([file('server/clock.ts', line)], ['server/clock.ts'])).toEqual([])
    expect(checkSeams([file('web/a.ts', line)], [])).toEqual([])
  })

  test('words in strings and comments, and dates of a given time, are no clock', () => {
    expect(checkSeams([file('server/a.ts', "const a = 'Date.now()' // setTimeout()", 'new Date(5)')], [])).toEqual([])
  })

  test('console and process.env where they do not belong', () => {
    const source = file('server/a.ts', 'console.log(1)', 'process.env.HOME', 'process.pid')
    expect(places(checkGlobal([source], 'console', ['server/cli']))).toEqual(['server/a.ts:1'])
    expect(places(checkGlobal([source], 'process.env', ['server/config.ts']))).toEqual(['server/a.ts:2'])
    expect(checkGlobal([source], 'console', ['server'])).toEqual([])
  })

  test('default exports', () => {
    const line = 'export default function f() {}'
    expect(places(checkDefaultExports([file('server/a.ts', line), file('examples/a.ts', line)]))).toEqual([
      'server/a.ts:1',
    ])
    expect(places(checkDefaultExports([file('server/a.ts', 'const a = 1', 'export { a as default }')]))).toHaveLength(1)
  })

  test.each([
    'let count = 0',
    'export var a = 1',
    'const seen = new Map()',
    'const all: string[] = []',
    'export const a = {}',
  ])('state in a module: %s', (line) =>
    expect(places(checkModuleState([file('server/a.ts', '', line)]))).toEqual(['server/a.ts:2']),
  )

  test('constants and state inside functions are accepted', () => {
    const lines = [
      'const A = new Set(["x"])',
      'const B: readonly X[] = []',
      'export function f() { let c = 0; return () => c++ }',
    ]
    expect(checkModuleState([file('server/a.ts', ...lines)])).toEqual([])
  })
})

describe('documents', () => {
  const events = file(
    'shared/event.ts',
    'type Other = { kind: "no" }',
    "export type RuntimeEvent = { at: number } & ({ kind: 'process:start' }",
    "  | { kind: 'process:exit'; inner: 1 })",
  )

  test('an event without a row and a row without an event', () => {
    const kinds = readKinds(events, 'RuntimeEvent')
    expect(kinds.map(({ name }) => name)).toEqual(['process:start', 'process:exit'])
    const rows = readRows(file('docs/events.md', '| event |', '|---|', '| `process:start` | x |', '| `gone` | x |'))
    expect(places(checkSameNames(kinds, rows, 'docs/events.md'))).toEqual(['shared/event.ts:3', 'docs/events.md:4'])
  })

  test('names of an object constant and of an array constant', () => {
    const source = file(
      'shared/error.ts',
      "const CODES = { A: f(1), 'B': g } as const satisfies T",
      "const P = ['x'] as const",
    )
    expect(readEntries(source, 'CODES').map(({ name }) => name)).toEqual(['A', 'B'])
    expect(readEntries(source, 'P').map(({ name }) => name)).toEqual(['x'])
  })

  test('a rule without a test, a test without a rule, a rule defined twice', () => {
    const spec = file('docs/SPEC.md', '- **K1** one', '| **K2** | two |', '**K3** three, see **K9**', '- **K1** again')
    const tests = file('test/unit/a.test.ts', "test('[K1] one', f)", 'test(`[K2, S4] two`, f)', "test('[x] no id', f)")
    const found = checkRules(readRules(spec), readTestIds([tests]))
    expect(places(found)).toEqual(['docs/SPEC.md:3', 'docs/SPEC.md:4', 'test/unit/a.test.ts:2'])
  })

  test('a crash point that the suite does not kill at, and one that is never passed', () => {
    const list = file(
      'server/crash-point.ts',
      "export const CRASH_POINTS = ['commit:sent', 'commit:done', 'gone'] as const",
    )
    const passes = file('server/store/commit.ts', "crashPoint('commit:sent')", "crashPoint('commit:done')")
    const suite = file('test/crash/commit.test.ts', "kill('commit:sent')", "kill('gone')")
    const found = checkCrashPoints(readEntries(list, 'CRASH_POINTS'), [list, passes, suite])
    expect(found.map(({ message }) => message.split('.')[0])).toEqual([
      '"commit:done" is not in test/crash',
      '"gone" is never passed in server/',
    ])
  })

  test('paths in code spans and links', () => {
    const lines = [
      'See `server/gone.ts`, `server/a.ts:12` and `server/...`.',
      '[spec](SPEC.md) [no](../web/no.png) [u](https://x.y)',
    ]
    const text = file('docs/ARCHITECTURE.md', ...lines, '```', '`server/in-a-block.ts`', '```', '`server/later.ts`')
    const found = checkDocumentPaths([text], (path) => ['server/a.ts', 'docs/SPEC.md'].includes(path))
    expect(places(found)).toEqual(['docs/ARCHITECTURE.md:1', 'docs/ARCHITECTURE.md:6', 'docs/ARCHITECTURE.md:2'])
  })
})

describe('package.json', () => {
  const manifest = (data: object): Source => file('package.json', JSON.stringify(data, null, 2))

  test('a range instead of a version', () => {
    const dependencies = { hono: '^4.0.0', ws: '8.23.0', beta: '18.4.0-beta.17' }
    expect(places(checkVersions(manifest({ dependencies, devDependencies: { vite: 'latest' } })))).toEqual([
      'package.json:3',
      'package.json:8',
    ])
  })

  test('more dependencies than the design allows', () => {
    const many = Object.fromEntries(Array.from({ length: 13 }, (_, index) => [`p${index}`, '1.0.0']))
    expect(checkVersions(manifest({ dependencies: many }))).toHaveLength(1)
    expect(checkVersions(manifest({ devDependencies: many }))).toEqual([])
  })

  test('a dependency without a reason; one row may stand for all platforms', () => {
    const source = manifest({
      dependencies: { hono: '1.0.0', ws: '1.0.0' },
      optionalDependencies: { '@pg/linux': '1.0.0' },
    })
    const rows = readRows(file('docs/dependencies.md', '| `hono` | x |', '| `@pg/*` | x |'))
    expect(places(checkSameNames(readDependencies(source), rows, 'd'))).toEqual(['package.json:4'])
  })

  test('a stray file in the root folder', () => {
    expect(places(checkRoot(['server', '.gitignore', 'vite.config.ts'], ['server']))).toEqual(['vite.config.ts:1'])
  })
})

describe('reach', () => {
  test('a file that only a test imports is dead, and so is one that nobody imports', () => {
    const sources = [
      file('server/index.ts', "import { a } from './a.ts'", "new Worker(new URL('./thread.ts', import.meta.url))"),
      file('server/a.ts', "moduleUrl('scheduler/entry')"),
      file('server/thread.ts'),
      file('server/scheduler/entry.ts'),
      file('server/dead.ts', "import { a } from './a.ts'"),
      file('bench/spawn.ts'),
    ]
    expect(places(checkReach(sources, ['server/index.ts', 'bench']))).toEqual(['server/dead.ts:1'])
  })

  test('a test file in a folder of no project', () => {
    const sources = [file('test/unit/deep/a.test.ts'), file('test/stray/b.test.ts')]
    expect(places(checkProjects(sources, ['test/unit/**/*.test.ts']))).toEqual(['test/stray/b.test.ts:1'])
  })
})

test('packages that are installed below a folder are not looked at', async () => {
  const root = await mkdtemp(join(tmpdir(), 'vivarium-tidy-'))
  onTestFinished(() => rm(root, { recursive: true }))
  await mkdir(join(root, 'bench/node_modules/peer'), { recursive: true })
  await writeFile(join(root, 'bench/spawn.ts'), '')
  await writeFile(join(root, 'bench/node_modules/peer/index.ts'), '')
  expect(readSources(root).map(({ path }) => path)).toEqual(['bench/spawn.ts'])
})
