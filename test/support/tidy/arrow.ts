/** Dependency direction: which part may import which, and which packages it may use. */
import { isCode, readImports, type Source, type Violation, violation } from './source.ts'

export type Area = {
  /** Areas it may import besides itself; `*` for any. */
  readonly imports: readonly string[]
  /** npm packages it may import; `*` for any. */
  readonly packages: readonly string[]
  /** Whether `node:` modules may be imported. */
  readonly builtins: boolean
}

/** Keys are folders or single files; the longest key that a path starts with is its area. */
export type Areas = Readonly<Record<string, Area>>

export function checkArrows(sources: readonly Source[], areas: Areas): Violation[] {
  return sources.filter(isCode).flatMap((source) => {
    const from = areaOf(source.path, areas)
    const area = from === null ? undefined : areas[from]
    if (from === null || area === undefined) {
      return [violation(source, 0, `belongs to no area. Move it, or add its area to AREAS in test/tidy.test.ts.`)]
    }
    return readImports(source).flatMap(({ specifier, target, offset }) => {
      const refused = target === null ? refusePackage(specifier, area) : refuseArea(target, from, areas)
      return refused === null ? [] : [violation(source, offset, `${from} must not import ${specifier}: ${refused}`)]
    })
  })
}

export function areaOf(path: string, areas: Areas): string | null {
  let found: string | null = null
  for (const key of Object.keys(areas)) {
    const inside = path === key || path.startsWith(`${key}/`)
    if (inside && (found === null || key.length > found.length)) found = key
  }
  return found
}

function refuseArea(target: string, from: string, areas: Areas): string | null {
  const to = areaOf(target, areas)
  const allowed = areas[from]?.imports ?? []
  if (to === from || allowed.includes('*') || (to !== null && allowed.includes(to))) return null
  return `it may import ${list(allowed)}. Hand it in as an argument, or move the shared part down.`
}

function refusePackage(specifier: string, area: Area): string | null {
  if (specifier.startsWith('node:')) return area.builtins ? null : 'it does no I/O. Hand in what it needs.'
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  if (area.packages.includes('*') || area.packages.includes(name)) return null
  return `it may use ${list(area.packages)}.`
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.join(', ')
}
