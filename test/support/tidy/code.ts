/** Checks that need one code file at a time: size, names, seams, exports, module state. */
import { basename } from 'node:path'
import { type VariableDeclarator, Visitor } from 'oxc-parser'
import { isCode, parse, readImports, type Source, type Violation, violation } from './source.ts'

// One idea fits in 500 lines, and a reader in a side-by-side view sees 120 columns.
const FILE_LINES_MAX = 500
const LINE_COLUMNS_MAX = 120

export function checkSize(sources: readonly Source[]): Violation[] {
  return sources.filter(isCode).flatMap((source) => {
    const lines = source.text.replace(/\n$/, '').split('\n')
    const found: Violation[] = []
    if (lines.length > FILE_LINES_MAX) {
      const message = `has ${lines.length} lines, at most ${FILE_LINES_MAX}. Split it: one idea a file.`
      found.push({ path: source.path, line: lines.length, message })
    }
    lines.forEach((text, index) => {
      if (text.length <= LINE_COLUMNS_MAX) return
      const message = `has ${text.length} columns, at most ${LINE_COLUMNS_MAX}. Break the line.`
      found.push({ path: source.path, line: index + 1, message })
    })
    return found
  })
}

// Names that say nothing about what is inside; everything ends up in such a file.
const BANNED =
  /^(.*-)?(utils?|helpers?|lib|libs|common|misc|types|interfaces|managers?|base|legacy|v\d+|constants|stubs?|mocks?)$/

export function checkNames(sources: readonly Source[]): Violation[] {
  return sources.filter(isCode).flatMap((source) => {
    const parts = source.path.split('/').map((part) => part.replace(/\..*$/, ''))
    const banned = parts.find((part) => BANNED.test(part))
    if (banned !== undefined) return [violation(source, 0, `is named "${banned}". Name it after its main export.`)]
    if (/^[a-z0-9-]+(\.[a-z0-9-]+)*\.tsx?$/.test(basename(source.path))) return []
    return [violation(source, 0, 'is not named in kebab-case.')]
  })
}

const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate'])
const CLOCKS: Readonly<Record<string, readonly string[]>> = { Date: ['now'], Math: ['random'], performance: ['now'] }

/** Time and chance go through server/clock.ts and server/random.ts, so that tests and simulation decide them. */
export function checkSeams(sources: readonly Source[], seams: readonly string[]): Violation[] {
  const inside = sources.filter((source) => isCode(source) && source.path.startsWith('server/'))
  return inside.flatMap((source) => {
    if (seams.includes(source.path)) return []
    const found: Violation[] = []
    const report = (offset: number, name: string): void => {
      found.push(violation(source, offset, `uses ${name}. Take it from server/clock.ts or server/random.ts.`))
    }
    for (const { specifier, offset } of readImports(source)) {
      if (/^node:timers(\/|$)/.test(specifier)) report(offset, specifier)
    }
    new Visitor({
      MemberExpression(node) {
        if (node.object.type !== 'Identifier' || node.property.type !== 'Identifier') return
        const name = `${node.object.name}.${node.property.name}`
        if (CLOCKS[node.object.name]?.includes(node.property.name)) report(node.start, name)
        if (node.object.name === 'globalThis' && TIMERS.has(node.property.name)) report(node.start, name)
      },
      CallExpression(node) {
        if (node.callee.type === 'Identifier' && TIMERS.has(node.callee.name)) report(node.start, node.callee.name)
      },
      NewExpression(node) {
        const isDate = node.callee.type === 'Identifier' && node.callee.name === 'Date'
        if (isDate && node.arguments.length === 0) report(node.start, 'new Date()')
      },
    }).visit(parse(source).program)
    return found
  })
}

/** `name` is a global such as `console`, or a property such as `process.env`; `allowed` are folders or files. */
export function checkGlobal(sources: readonly Source[], name: string, allowed: readonly string[]): Violation[] {
  const [object, property] = name.split('.')
  return sources.filter(isCode).flatMap((source) => {
    if (allowed.some((prefix) => source.path === prefix || source.path.startsWith(`${prefix}/`))) return []
    const found: Violation[] = []
    new Visitor({
      MemberExpression(node) {
        if (node.object.type !== 'Identifier' || node.object.name !== object) return
        if (property !== undefined && !(node.property.type === 'Identifier' && node.property.name === property)) return
        found.push(violation(source, node.start, `uses ${name}, which only ${allowed.join(', ')} may.`))
      },
    }).visit(parse(source).program)
    return found
  })
}

/** `export default` hides the name a reader searches for; agent modules and tool configs are what it is for. */
export function checkDefaultExports(sources: readonly Source[]): Violation[] {
  return sources.filter(isCode).flatMap((source) => {
    if (/\.config\.ts$|^examples\/|\/fixture\//.test(source.path)) return []
    const entries = parse(source).module.staticExports.flatMap((found) => found.entries)
    return entries
      .filter(({ exportName }) => exportName.kind === 'Default' || exportName.name === 'default')
      .map((entry) => violation(source, entry.start, 'has a default export. Export it by name.'))
  })
}

/** Two runtimes in one process never meet: no module keeps state that changes. */
export function checkModuleState(sources: readonly Source[]): Violation[] {
  const inside = sources.filter((source) => isCode(source) && /^(server|shared)\//.test(source.path))
  return inside.flatMap((source) =>
    parse(source).program.body.flatMap((statement) => {
      const declaration = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement
      if (declaration?.type !== 'VariableDeclaration' || ('declare' in declaration && declaration.declare)) return []
      const { kind, declarations, start } = declaration
      const message = 'keeps state in the module, which two runtimes in one process would share. Hold it in an object.'
      if (kind !== 'const') return [violation(source, start, message)]
      return declarations
        .filter(({ id, init }) => init != null && isEmptyContainer(init) && !isReadonly(source, id))
        .map((found) => violation(source, found.start, message))
    }),
  )
}

type Expression = NonNullable<VariableDeclarator['init']>

function isEmptyContainer(init: Expression): boolean {
  if (init.type === 'ArrayExpression') return init.elements.length === 0
  if (init.type === 'ObjectExpression') return init.properties.length === 0
  if (init.type !== 'NewExpression' || init.callee.type !== 'Identifier') return false
  // A WeakMap at the top remembers what follows from its key alone, which two runtimes may share.
  return ['Map', 'Set'].includes(init.callee.name) && init.arguments.length === 0
}

/** `const NONE: readonly Link[] = []` is a constant: the compiler lets nobody put anything in. */
function isReadonly(source: Source, id: VariableDeclarator['id']): boolean {
  const annotation = source.text.slice(id.start, id.end)
  return /:\s*(readonly\b|Readonly|\{ readonly\b)/.test(annotation)
}
