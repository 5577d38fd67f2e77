/**
 * Where the package keeps what is not code: one answer for the sources (`server/paths.ts`, run as they are) and for the
 * package (`dist/server/paths.js`). tsc does not rewrite `new URL('./x.ts', import.meta.url)`, so thread entries go
 * through `moduleUrl` too.
 *
 * - Nothing here reads the current directory: an app may embed the runtime and start anywhere.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** In a data folder: where its server is, for local tools. */
export const SERVER_FILE = 'server.json'

export type Paths = {
  /** Folder of package.json. */
  readonly root: string
  /** SQL migrations and their journal. */
  readonly migrations: string
  /** Prebuilt observer: index.html and its assets. Missing in a clone that was never built. */
  readonly web: string
}

export const paths: Paths = locate(fileURLToPath(import.meta.url))

/** URL of a module under `server/` named without extension, e.g. `moduleUrl('scheduler/entry')` for a new Worker. */
export function moduleUrl(name: string): URL {
  return new URL(`${name}${extname(import.meta.url)}`, import.meta.url)
}

/** Of this package, as published. */
export async function packageVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(paths.root, 'package.json'), 'utf8'))
  return String(Reflect.get(Object(manifest), 'version'))
}

/** Exported for its test: `file` is the path this module would have, in the sources or in `dist`. */
export function locate(file: string): Paths {
  const root = findRoot(dirname(file))
  return { root, migrations: join(root, 'migrations'), web: join(root, 'dist', 'web') }
}

function findRoot(start: string): string {
  let folder = start
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error(`No package.json above ${start}. Keep the package's folders together.`)
    folder = parent
  }
  return folder
}
