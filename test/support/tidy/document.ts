/** Checks that compare the documents with the code: events, codes, rules, crash points, dependencies, paths. */
import { posix } from 'node:path'
import { Visitor } from 'oxc-parser'
import { isCode, parse, type Source, type Violation, violation } from './source.ts'

/** A name and where it stands. */
export type Name = { readonly name: string; readonly source: Source; readonly offset: number }

/** Every `kind: '...'` of the type `typeName`. */
export function readKinds(source: Source, typeName: string): Name[] {
  const names: Name[] = []
  new Visitor({
    TSTypeAliasDeclaration(node) {
      if (node.id.name !== typeName) return
      const text = source.text.slice(node.start, node.end)
      for (const found of text.matchAll(/\bkind:\s*'([^']+)'/g)) {
        if (found[1] !== undefined) names.push({ name: found[1], source, offset: node.start + found.index })
      }
    },
  }).visit(parse(source).program)
  return names
}

/** Keys of an object constant, or elements of an array constant, called `constant`. */
export function readEntries(source: Source, constant: string): Name[] {
  const names: Name[] = []
  new Visitor({
    VariableDeclarator(node) {
      if (node.id.type !== 'Identifier' || node.id.name !== constant) return
      let init = node.init
      while (init?.type === 'TSAsExpression' || init?.type === 'TSSatisfiesExpression') init = init.expression
      if (init?.type === 'ArrayExpression') {
        for (const element of init.elements) {
          if (element?.type !== 'Literal' || typeof element.value !== 'string') continue
          names.push({ name: element.value, source, offset: element.start })
        }
      }
      if (init?.type === 'ObjectExpression') {
        for (const property of init.properties) {
          if (property.type !== 'Property') continue
          if (property.key.type === 'Identifier')
            names.push({ name: property.key.name, source, offset: property.start })
          if (property.key.type !== 'Literal' || typeof property.key.value !== 'string') continue
          names.push({ name: property.key.value, source, offset: property.start })
        }
      }
    },
  }).visit(parse(source).program)
  return names
}

/** Names in the first column of the document's tables: `| \`name\` | ... |`. */
export function readRows(source: Source): Name[] {
  const found = [...source.text.matchAll(/^\|\s*`([^`]+)`/gm)]
  return found.flatMap((row) => (row[1] === undefined ? [] : [{ name: row[1], source, offset: row.index }]))
}

/** Both lists name the same things; `*` at the end of a row stands for any rest. */
export function checkSameNames(code: readonly Name[], rows: readonly Name[], document: string): Violation[] {
  const covers = (row: string, name: string): boolean =>
    row.endsWith('*') ? name.startsWith(row.slice(0, -1)) : row === name
  const missing = code
    .filter(({ name }) => !rows.some((row) => covers(row.name, name)))
    .map(({ name, source, offset }) =>
      violation(source, offset, `"${name}" has no row in ${document}. Add \`| \`${name}\` | ...\` there.`),
    )
  const surplus = rows
    .filter((row) => !code.some(({ name }) => covers(row.name, name)))
    .map(({ name, source, offset }) => violation(source, offset, `"${name}" is not in the code. Remove the row.`))
  return [...missing, ...surplus]
}

/** Rules are defined in docs/SPEC.md by their bold id at the start of a list item, table row or line: `**K4**`. */
export function readRules(spec: Source): Name[] {
  const found = [...spec.text.matchAll(/^(?:\s*[-*]\s+|\|\s*|\s*)\*\*([A-Z]{1,3}\d+[a-z]?)\*\*/gm)]
  return found.flatMap((row) => (row[1] === undefined ? [] : [{ name: row[1], source: spec, offset: row.index }]))
}

const TEST_IDS = /^(?:\[[A-Z]{1,3}\d+[a-z]?(?:,\s*[A-Z]{1,3}\d+[a-z]?)*\]\s*)+/

/** Ids at the start of test names: `[K4] ...`, `[K4, K5] ...` or `[K4][K5] ...`, in calls as well as in tables. */
export function readTestIds(sources: readonly Source[]): Name[] {
  const ids: Name[] = []
  for (const source of sources.filter((found) => isCode(found) && found.path.startsWith('test/'))) {
    const collect = (title: string, offset: number): void => {
      const names = TEST_IDS.exec(title)?.[0].matchAll(/[A-Z]{1,3}\d+[a-z]?/g) ?? []
      for (const [name] of names) ids.push({ name, source, offset })
    }
    new Visitor({
      Literal(node) {
        if (typeof node.value === 'string') collect(node.value, node.start)
      },
      TemplateElement(node) {
        collect(node.value.raw, node.start)
      },
    }).visit(parse(source).program)
  }
  return ids
}

export function checkRules(rules: readonly Name[], ids: readonly Name[]): Violation[] {
  const tested = new Set(ids.map(({ name }) => name))
  const defined = new Set<string>()
  const found: Violation[] = []
  for (const { name, source, offset } of rules) {
    if (defined.has(name)) found.push(violation(source, offset, `${name} is defined twice. Give one a new id.`))
    defined.add(name)
    if (tested.has(name)) continue
    found.push(violation(source, offset, `${name} has no test. Start a test name with "[${name}] ".`))
  }
  for (const { name, source, offset } of ids) {
    if (defined.has(name)) continue
    found.push(violation(source, offset, `[${name}] is not a rule. Define **${name}** in docs/SPEC.md.`))
  }
  return found
}

/** Each point is passed by the code outside the list, and named by the crash suite that kills there. */
export function checkCrashPoints(points: readonly Name[], sources: readonly Source[]): Violation[] {
  const quoted = (text: string, name: string): boolean =>
    [`'${name}'`, `"${name}"`, `\`${name}\``].some((literal) => text.includes(literal))
  const named = (folder: string, point: Name): boolean =>
    sources.some(({ path, text }) => path.startsWith(folder) && path !== point.source.path && quoted(text, point.name))
  return points.flatMap((point) => {
    const { name, source, offset } = point
    const found: Violation[] = []
    if (!named('server/', point))
      found.push(violation(source, offset, `"${name}" is never passed in server/. Remove it.`))
    if (!named('test/crash/', point)) {
      found.push(
        violation(source, offset, `"${name}" is not in test/crash. Kill a child there and check what is left.`),
      )
    }
    return found
  })
}

const REPOSITORY_PATH = /^(server|web|shared|migrations|test|bench|docs|examples|\.ci)\/[\w./-]*$/

/** Code spans that look like a path of this repository, and relative links, lead to something. */
export function checkDocumentPaths(documents: readonly Source[], exists: (path: string) => boolean): Violation[] {
  return documents.flatMap((source) => {
    const text = source.text.replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ' '))
    const mentions: Name[] = []
    for (const span of text.matchAll(/`([^`\n]+)`/g)) {
      const path = span[1]?.replace(/:\d+$/, '') ?? ''
      if (REPOSITORY_PATH.test(path) && !path.includes('...')) mentions.push({ name: path, source, offset: span.index })
    }
    for (const link of text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      const target = link[1] ?? ''
      if (target === '' || /^[a-z]+:/.test(target)) continue
      mentions.push({ name: posix.join(posix.dirname(source.path), target), source, offset: link.index })
    }
    return mentions
      .filter(({ name }) => !exists(name.replace(/\/$/, '')))
      .map(({ name, offset }) => violation(source, offset, `names ${name}, which does not exist. Correct the path.`))
  })
}
