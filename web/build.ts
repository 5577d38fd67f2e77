/**
 * Builds the observer into dist/web: `node web/build.ts [--if-stale]`. With `--if-stale` it builds only when a source
 * is newer than the result, which is what `npm start` and the browser tests ask for. A failed build fails its caller.
 */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const sources = ['web', 'shared', 'package-lock.json']
const entry = join(root, 'web/index.html')
const output = join(root, 'dist/web/index.html')

export async function buildWeb(options: { ifStale: boolean }): Promise<void> {
  if ((await modifiedAt(entry)) === null) {
    console.log('No observer was built: web/index.html does not exist.')
    return
  }
  if (options.ifStale && (await isFresh())) return
  // Only when it is needed: loading Vite would be most of a warm start.
  const { build } = await import('vite')
  const environment = process.env.NODE_ENV
  // Vite keeps a NODE_ENV it finds: under a test runner it would leave React's slow development build behind.
  process.env.NODE_ENV = 'production'
  try {
    await build({ configFile: join(root, 'web/vite.config.ts'), logLevel: 'warn' })
  } finally {
    if (environment === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = environment
  }
}

async function isFresh(): Promise<boolean> {
  const builtAt = await modifiedAt(output)
  if (builtAt === null) return false
  for (const source of sources) {
    if ((await newestUnder(join(root, source))) > builtAt) return false
  }
  return true
}

async function newestUnder(path: string): Promise<number> {
  const found = await stat(path)
  if (!found.isDirectory()) return found.mtimeMs
  let newest = 0
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    // Folders count as well: their time changes when a file is deleted or renamed.
    newest = Math.max(newest, (await modifiedAt(join(entry.parentPath, entry.name))) ?? 0)
  }
  return newest
}

/** Null where there is no such file; every other failure is the caller's. */
async function modifiedAt(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}

if (import.meta.main) await buildWeb({ ifStale: process.argv.includes('--if-stale') })
