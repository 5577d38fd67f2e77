/**
 * What the tidy checks look at: the files of the repository with their syntax trees, and plain violations as answers.
 *
 * - A check is a function of sources, never of the disk, so that each one is tested against a planted violation.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { type ParseResult, parseSync } from 'oxc-parser'

export type Source = { readonly path: string; readonly text: string }

export type Violation = { readonly path: string; readonly line: number; readonly message: string }

/** One mention of another module: `specifier` as written, `target` where it is a path of this repository. */
export type Reference = { readonly specifier: string; readonly target: string | null; readonly offset: number }

const FOLDERS = ['server', 'web', 'shared', 'migrations', 'test', 'bench', 'docs', 'examples']
const TEXT = /\.(ts|tsx|cjs|md|json|html|css|sql)$/
const CODE = /\.tsx?$/

/** Every text file the checks may look at, with forward slashes and relative to `root`. */
export function readSources(root: string): Source[] {
  const top = readdirSync(root, { withFileTypes: true })
  const paths = top.filter((entry) => entry.isFile()).map(({ name }) => name)
  for (const folder of top.filter((entry) => entry.isDirectory() && FOLDERS.includes(entry.name))) {
    for (const entry of readdirSync(join(root, folder.name), { recursive: true, withFileTypes: true })) {
      const path = relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/')
      // The peers of the benches are installed below their folder.
      if (entry.isFile() && !path.includes('/node_modules/')) paths.push(path)
    }
  }
  return paths
    .filter((path) => TEXT.test(path))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

export function isCode(source: Source): boolean {
  return CODE.test(source.path)
}

const parsed = new WeakMap<Source, ParseResult>()

/** Parsed once per source: every check of a run asks for the same trees. */
export function parse(source: Source): ParseResult {
  const known = parsed.get(source)
  if (known !== undefined) return known
  const result = parseSync(source.path, source.text)
  parsed.set(source, result)
  return result
}

export function violation(source: Source, offset: number, message: string): Violation {
  return { path: source.path, line: source.text.slice(0, offset).split('\n').length, message }
}

export function formatViolation(found: Violation): string {
  return `${found.path}:${found.line} ${found.message}`
}

/** Imports, re-exports and dynamic imports, types included: a type is an arrow as well. */
export function readImports(source: Source): Reference[] {
  const { module } = parse(source)
  const requests = [
    ...module.staticImports.map((found) => found.moduleRequest),
    ...module.staticExports.flatMap((found) => found.entries.flatMap((entry) => entry.moduleRequest ?? [])),
  ].map(({ value, start }) => ({ value, start }))
  for (const { moduleRequest } of module.dynamicImports) {
    const literal = /^['"`]([^'"`$]+)['"`]$/.exec(source.text.slice(moduleRequest.start, moduleRequest.end))
    if (literal?.[1] !== undefined) requests.push({ value: literal[1], start: moduleRequest.start })
  }
  for (const found of source.text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)\./g)) {
    if (found[1] !== undefined) requests.push({ value: found[1], start: found.index })
  }
  // One statement that re-exports five names is one reference.
  const unique = new Map(requests.map(({ value, start }) => [start, value]))
  return [...unique].map(([offset, specifier]) => ({
    specifier,
    target: specifier.startsWith('.') ? posix.join(posix.dirname(source.path), specifier) : null,
    offset,
  }))
}
