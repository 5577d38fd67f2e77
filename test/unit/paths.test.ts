import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { locate, moduleUrl, paths } from '../../server/paths.ts'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

test('the package root is the same from the sources and from the built package', () => {
  expect(paths.root).toBe(root)
  expect(locate(join(root, 'dist', 'server', 'paths.js'))).toEqual(locate(join(root, 'server', 'paths.ts')))
})

test('web files and migrations lie where the build and the package put them', () => {
  expect(paths.web).toBe(join(root, 'dist', 'web'))
  expect(paths.migrations).toBe(join(root, 'migrations'))
})

test('a module keeps the extension of the form that runs', () => {
  expect(existsSync(moduleUrl('paths'))).toBe(true)
  expect(moduleUrl('cli/main').pathname).toBe(join(root, 'server', 'cli', 'main.ts'))
})

test('a file outside any package names the folder it looked from', () => {
  expect(() => locate('/nowhere/at/all/paths.js')).toThrow('/nowhere/at/all')
})
