/** Runs `viv` as a user does: a process of its own, its output and its exit code. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = fileURLToPath(new URL('../../server/cli/main.ts', import.meta.url))

export type Ran = { code: number | null; out: string; err: string }

export function startViv(args: readonly string[]): ChildProcess {
  const { DATABASE_URL: _database, VIVARIUM_URL: _url, ...inherited } = process.env
  return spawn(process.execPath, ['--conditions=vivarium-source', MAIN, ...args], {
    cwd: root,
    env: inherited,
  })
}

export function viv(args: readonly string[]): Promise<Ran> {
  const child = startViv(args)
  let [out, err] = ['', '']
  child.stdout?.on('data', (part: Buffer) => {
    out += part.toString()
  })
  child.stderr?.on('data', (part: Buffer) => {
    err += part.toString()
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

/** The first line of its output. @throws Error with what it said instead */
export function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let [out, err] = ['', '']
    child.stdout?.on('data', (part: Buffer) => {
      out += part.toString()
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')))
    })
    child.stderr?.on('data', (part: Buffer) => {
      err += part.toString()
    })
    child.once('close', (code) => reject(new Error(`viv ended with ${code}: ${err}`)))
  })
}
