/** Checks of package.json: exact versions, a bounded number of dependencies, and what may lie in the root folder. */
import type { Name } from './document.ts'
import { type Source, type Violation, violation } from './source.ts'

// Each server dependency is one more thing to read, patch and trust; the design allows twelve.
const DEPENDENCIES_MAX = 12

export function readDependencies(manifest: Source): Name[] {
  const data: unknown = JSON.parse(manifest.text)
  const sections = ['dependencies', 'optionalDependencies', 'devDependencies']
  return sections.flatMap((section) => Object.keys(record(data, section))).map((name) => locate(manifest, name))
}

export function checkVersions(manifest: Source): Violation[] {
  const data: unknown = JSON.parse(manifest.text)
  const server = Object.keys(record(data, 'dependencies'))
  const found: Violation[] = []
  if (server.length > DEPENDENCIES_MAX) {
    const message = `has ${server.length} dependencies, at most ${DEPENDENCIES_MAX}. Write the small part yourself.`
    found.push(violation(manifest, manifest.text.indexOf('"dependencies"'), message))
  }
  for (const section of ['dependencies', 'optionalDependencies', 'devDependencies']) {
    for (const [name, version] of Object.entries(record(data, section))) {
      if (typeof version === 'string' && /^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) continue
      const { offset } = locate(manifest, name)
      found.push(violation(manifest, offset, `${name} is not pinned: "${String(version)}". Name one exact version.`))
    }
  }
  return found
}

export function checkRoot(names: readonly string[], allowed: readonly string[]): Violation[] {
  return names
    .filter((name) => !name.startsWith('.') && !allowed.includes(name))
    .map((name) => ({ path: name, line: 1, message: 'does not belong in the root folder. Move it into its area.' }))
}

function locate(manifest: Source, name: string): Name {
  return { name, source: manifest, offset: Math.max(0, manifest.text.indexOf(`"${name}": "`)) }
}

function record(data: unknown, key: string): Record<string, unknown> {
  if (typeof data !== 'object' || data === null) return {}
  const value: unknown = Reflect.get(data, key)
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
