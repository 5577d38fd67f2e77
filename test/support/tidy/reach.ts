/** Dead files: code that no entry point reaches, and tests that no project runs. */
import { posix } from 'node:path'
import { Visitor } from 'oxc-parser'
import { isCode, parse, readImports, type Source, type Violation, violation } from './source.ts'

/** `entries` are paths, or folders whose files are all entries. A test does not keep product code alive. */
export function checkReach(sources: readonly Source[], entries: readonly string[]): Violation[] {
  const code = new Map(sources.filter(isCode).map((source) => [source.path, source]))
  const isEntry = (path: string): boolean => entries.some((entry) => path === entry || path.startsWith(`${entry}/`))
  const waiting = [...code.keys()].filter(isEntry)
  const reached = new Set<string>()
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const source = code.get(path)
    if (source === undefined || reached.has(path)) continue
    reached.add(path)
    waiting.push(...readReferences(source))
  }
  return [...code.values()]
    .filter(({ path }) => !reached.has(path))
    .map((source) => violation(source, 0, 'is reached from no entry point. Use it or delete it.'))
}

/**
 * Imports, and files named by a literal: `new URL('./child.ts', import.meta.url)`, `moduleUrl('scheduler/entry')`, or a
 * path from the root as in Vitest's `globalSetup`.
 */
function readReferences(source: Source): string[] {
  const paths = readImports(source).flatMap(({ target }) => target ?? [])
  new Visitor({
    Literal(node) {
      if (typeof node.value !== 'string' || !/\.tsx?$/.test(node.value)) return
      const relative = node.value.startsWith('.')
      paths.push(relative ? posix.join(posix.dirname(source.path), node.value) : node.value)
    },
    CallExpression(node) {
      const [first] = node.arguments
      if (node.callee.type !== 'Identifier' || node.callee.name !== 'moduleUrl') return
      if (first?.type === 'Literal') paths.push(`server/${String(first.value)}.ts`)
    },
  }).visit(parse(source).program)
  return paths
}

/** A test file that matches no project's `include` would never run, and nobody would notice. */
export function checkProjects(sources: readonly Source[], includes: readonly string[]): Violation[] {
  return sources
    .filter(({ path }) => /\.test\.tsx?$/.test(path))
    .filter(({ path }) => !includes.some((include) => posix.matchesGlob(path, include)))
    .map((source) =>
      violation(source, 0, 'is run by no project of test/vitest.config.ts. Move it into a folder of one.'),
    )
}
