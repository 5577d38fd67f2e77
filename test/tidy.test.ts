/**
 * The rules of docs/STYLE.md that a machine can check, one test each. A failure lists `file:line what, and what to do`.
 * The checks themselves are in test/support/tidy and are tested against planted violations in test/unit/tidy.test.ts.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { type Areas, checkArrows } from './support/tidy/arrow.ts'
import {
  checkDefaultExports,
  checkGlobal,
  checkModuleState,
  checkNames,
  checkSeams,
  checkSize,
} from './support/tidy/code.ts'
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
} from './support/tidy/document.ts'
import { checkRoot, checkVersions, readDependencies } from './support/tidy/manifest.ts'
import { checkProjects, checkReach } from './support/tidy/reach.ts'
import { formatViolation, readSources, type Source, type Violation } from './support/tidy/source.ts'
import { PROJECTS } from './vitest.config.ts'

const SEAMS = ['server/clock.ts', 'server/random.ts', 'server/crash-point.ts', 'server/paths.ts']
const STORE = 'server/store/store.ts'
const ARCHIVE = 'server/store/archive.ts'
const STREAM = 'server/store/stream.ts'
const TRANSACT = 'server/store/transact.ts'
const INSPECT = 'server/observe/inspect.ts'
const CONTROL = 'server/control.ts'
const INDEX = 'server/index.ts'
const KERNEL = ['shared', 'server/kernel']
const DEFINITION = [...KERNEL, 'server/definition']
const JOURNAL = [...DEFINITION, 'server/journal', STORE, ARCHIVE, STREAM, TRANSACT, ...SEAMS]
const SCHEDULER = [...JOURNAL, 'server/scheduler']
const SURFACE = ['shared', 'server/observe', INSPECT, CONTROL, STREAM, ...SEAMS]
const ANY = { imports: ['*'], packages: ['*'], builtins: true }

/** Who may import whom. A new arrow is a design decision: change it here together with docs/ARCHITECTURE.md. */
const AREAS: Areas = {
  shared: { imports: [], packages: ['zod'], builtins: false },
  'server/clock.ts': { imports: KERNEL, packages: [], builtins: true },
  'server/random.ts': { imports: KERNEL, packages: [], builtins: true },
  'server/crash-point.ts': { imports: ['shared'], packages: [], builtins: true },
  'server/paths.ts': { imports: [], packages: [], builtins: true },
  'server/config.ts': { imports: ['shared', 'server/paths.ts'], packages: ['zod'], builtins: true },
  'server/control.ts': { imports: ['shared'], packages: [], builtins: false },
  'server/kernel': { imports: KERNEL, packages: [], builtins: false },
  // A type only: what `ctx.transaction` hands to its callback.
  'server/definition': { imports: DEFINITION, packages: ['drizzle-orm'], builtins: true },
  'server/journal': { imports: JOURNAL, packages: ['mutative'], builtins: true },
  'server/store/store.ts': { imports: ['shared', ARCHIVE, STREAM, TRANSACT], packages: [], builtins: false },
  'server/store/archive.ts': { imports: ['shared', STORE], packages: [], builtins: false },
  'server/store/transact.ts': { imports: [STORE], packages: [], builtins: false },
  'server/store/stream.ts': { imports: ['shared', STORE], packages: [], builtins: false },
  'server/store': {
    imports: ['shared', STORE, ARCHIVE, STREAM, TRANSACT, ...SEAMS],
    packages: ['drizzle-orm', 'postgres'],
    builtins: true,
  },
  // Threads that run functions: told what to run and by whom it is ended, they know no agent, turn or store.
  'server/compute': { imports: [...DEFINITION, 'server/clock.ts', 'server/paths.ts'], packages: [], builtins: true },
  'server/scheduler': { imports: SCHEDULER, packages: [], builtins: true },
  'server/cluster': { imports: [...SCHEDULER, 'server/cluster'], packages: [], builtins: true },
  'server/observe/inspect.ts': { imports: ['shared'], packages: [], builtins: false },
  'server/observe/sdk.ts': { imports: ['shared'], packages: ['@opentelemetry/sdk-node'], builtins: true },
  'server/observe': {
    imports: ['shared', STORE, STREAM, INSPECT, 'server/observe/sdk.ts', ...SEAMS],
    packages: ['@opentelemetry/api'],
    builtins: true,
  },
  'server/feed': { imports: SURFACE, packages: ['ws', 'zod'], builtins: true },
  'server/http': { imports: SURFACE, packages: ['hono', '@hono/node-server', 'zod'], builtins: true },
  'server/mcp': { imports: ['shared', INSPECT, CONTROL], packages: ['zod'], builtins: true },
  'server/host': {
    imports: [
      ...SCHEDULER,
      'server/compute',
      'server/cluster',
      'server/store',
      'server/feed',
      'server/http',
      'server/config.ts',
      'server/host',
      // Types only: the parts of a runtime know the core they are parts of.
      'server/runtime.ts',
      ...SURFACE,
    ],
    packages: ['hono'],
    builtins: true,
  },
  'server/runtime.ts': {
    imports: [
      ...SCHEDULER,
      'server/compute',
      'server/host',
      'server/cluster',
      'server/store',
      'server/feed',
      'server/http',
      'server/config.ts',
      ...SURFACE,
    ],
    packages: ['hono'],
    builtins: true,
  },
  'server/index.ts': {
    imports: [
      ...DEFINITION,
      'server/runtime.ts',
      'server/compute',
      'server/host',
      'server/journal',
      'server/config.ts',
      ...SEAMS,
      INSPECT,
      CONTROL,
    ],
    packages: [],
    builtins: false,
  },
  'server/ai': { imports: ['shared', INDEX], packages: ['*'], builtins: true },
  'server/testing': { imports: ['shared', INDEX], packages: [], builtins: true },
  'server/jobs': { imports: ['shared', INDEX], packages: [], builtins: true },
  'server/cli/main.ts': {
    imports: ['shared', INDEX, 'server/cli', 'server/config.ts', 'server/paths.ts', 'server/http', 'server/feed'],
    packages: [],
    builtins: true,
  },
  'server/cli': {
    // `stop` ends an embedded server that no runtime uses any more.
    imports: ['shared', INDEX, 'server/store', 'server/config.ts', ...SEAMS],
    packages: ['zod'],
    builtins: true,
  },
  'web/build.ts': ANY,
  'web/vite.config.ts': ANY,
  'web/ui': {
    imports: [],
    packages: ['react', 'react-dom', '@tanstack/react-virtual', 'tinykeys'],
    builtins: false,
  },
  'web/feed': { imports: ['shared'], packages: ['react', 'zod'], builtins: false },
  web: {
    imports: ['shared', 'web/ui', 'web/feed'],
    packages: [
      'react',
      'react-dom',
      '@tanstack/react-virtual',
      'tinykeys',
      '@fontsource-variable/inter',
      '@fontsource-variable/jetbrains-mono',
    ],
    builtins: false,
  },
  examples: { imports: ['shared', INDEX], packages: ['*'], builtins: true },
  bench: ANY,
  test: ANY,
}

/** Files that nobody imports because something outside the sources starts them. */
const ENTRIES = [
  INDEX,
  'test/support/api-misuse.ts',
  'test/random/main.ts',
  'test/sim/main.ts',
  'server/cli/main.ts',
  'server/cli/dev/generation-main.ts',
  'server/compute/entry.ts',
  'test/support/compute-broken.ts',
  'test/support/compute-model-broken.ts',
  'test/support/compute-model-short.ts',
  'web/main.tsx',
  'web/build.ts',
  'web/vite.config.ts',
  'bench',
  'examples',
]

const ROOT = [
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'biome.json', 'README.md', 'LICENSE', 'CHANGELOG.md'],
  ...['server', 'web', 'shared', 'migrations', 'test', 'bench', 'docs', 'examples'],
  // Made by npm and by the build, never committed.
  ...['node_modules', 'dist'],
]

/** Exceptions to a single check, each with its reason. One that is no longer needed fails as well. */
const ALLOWED: readonly { check: string; path: string; reason: string }[] = []

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '')
const sources = readSources(root)
const documents = sources.filter(({ path }) => path.endsWith('.md'))
const tests = sources.filter(({ path }) => /^test\/.*\.test\.tsx?$/.test(path)).map(({ path }) => path)

function check(name: string, find: () => readonly Violation[] | Promise<readonly Violation[]>): void {
  test(name, async () => {
    const allowed = ALLOWED.filter((entry) => entry.check === name).map((entry) => entry.path)
    const found = await find()
    const left = found.filter(({ path }) => !allowed.includes(path)).map(formatViolation)
    const unused = allowed.filter((path) => !found.some((entry) => entry.path === path))
    const lines = [...left, ...unused.map((path) => `${path} is in ALLOWED but violates nothing. Remove the entry.`)]
    if (lines.length > 0) expect.fail(lines.join('\n'))
  })
}

/** A file that a check compares with. Its absence is the violation then, not a reason to pass. */
function need(path: string): Source {
  const source = sources.find((found) => found.path === path)
  if (source === undefined) throw new Error(`${path} does not exist. Write it: this check compares with it.`)
  return source
}

check('imports follow the arrows', () => checkArrows(sources, AREAS))
check('files and lines are short', () => checkSize(sources))
check('files are named after what they own', () => checkNames(sources))
check('time and chance come through the seams', () => checkSeams(sources, SEAMS))
check('the environment is read in one place', () => {
  const product = sources.filter(({ path }) => path.startsWith('server/'))
  return checkGlobal(product, 'process.env', ['server/config.ts'])
})
check('console is for command lines', () =>
  checkGlobal(sources, 'console', ['server/cli', 'examples', 'bench', 'test', 'web/build.ts']),
)
check('exports have names', () => checkDefaultExports(sources))
check('modules keep no state', () => checkModuleState(sources))
check('every event is documented', () =>
  checkSameNames(
    readKinds(need('shared/event.ts'), 'RuntimeEvent'),
    readRows(need('docs/events.md')),
    'docs/events.md',
  ),
)
check('every error code is documented', () =>
  checkSameNames(readEntries(need('shared/error.ts'), 'CODES'), readRows(need('docs/errors.md')), 'docs/errors.md'),
)
check('every rule has a test and every test id a rule', () =>
  checkRules(readRules(need('docs/SPEC.md')), readTestIds(sources)),
)
check('every crash point is passed and killed at', () =>
  checkCrashPoints(readEntries(need('server/crash-point.ts'), 'CRASH_POINTS'), sources),
)
check('every dependency has its reason', () =>
  checkSameNames(
    [need('package.json'), need('bench/package.json')].flatMap(readDependencies),
    readRows(need('docs/dependencies.md')),
    'docs/dependencies.md',
  ),
)
check('versions are exact and dependencies few', () =>
  [need('package.json'), need('bench/package.json')].flatMap(checkVersions),
)
check('paths in documents exist', () => checkDocumentPaths(documents, (path) => existsSync(join(root, path))))
check('no file is dead', () => checkReach(sources, [...ENTRIES, 'test/vitest.config.ts', ...tests]))
check('every test file belongs to a project', () =>
  checkProjects(
    sources,
    Object.values(PROJECTS).flatMap(({ include }) => include),
  ),
)
check('the root folder holds only what a newcomer needs', () => checkRoot(readdirSync(root), ROOT))

test.each(['tsconfig.json', 'web/tsconfig.json'])('%s type-checks', { timeout: 120_000 }, async (project) => {
  const check = promisify(execFile)(join(root, 'node_modules/.bin/tsc'), ['-p', project], { cwd: root })
  await check.catch((error: { stdout: string }) => expect.fail(error.stdout))
})

test('the linter finds nothing', { timeout: 30_000 }, async () => {
  const lint = promisify(execFile)(join(root, 'node_modules/.bin/biome'), ['lint', '--colors=off', '.'], { cwd: root })
  await lint.catch((error: { stdout: string; stderr: string }) => expect.fail(`${error.stdout}\n${error.stderr}`))
})
