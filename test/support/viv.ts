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

/** A program that goes on, and what it says. */
export type Watched = {
  /** The next line of its output that is JSON of the command line. */
  line(): Promise<Record<string, unknown>>
  /** What it wrote to standard error so far. */
  errors(): string
  readonly exit: Promise<number | null>
  /** SIGTERM, and its exit code. */
  end(): Promise<number | null>
}

/** @param waitMs  how long a line may take to come */
export function watched(child: ChildProcess, waitMs = 30_000): Watched {
  const lines: Record<string, unknown>[] = []
  let [out, err] = ['', '']
  let heard = Promise.withResolvers<void>()
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve))
  child.stdout?.on('data', (part: Buffer) => {
    out += part.toString()
    for (let at = out.indexOf('\n'); at !== -1; at = out.indexOf('\n')) {
      lines.push(JSON.parse(out.slice(0, at)))
      out = out.slice(at + 1)
    }
    heard.resolve()
    heard = Promise.withResolvers()
  })
  child.stderr?.on('data', (part: Buffer) => {
    err += part.toString()
  })
  return {
    async line() {
      const deadline = performance.now() + waitMs
      for (;;) {
        const line = lines.shift()
        if (line !== undefined) return line
        const left = deadline - performance.now()
        if (child.exitCode !== null) throw new Error(`It ended with ${child.exitCode}. It said: ${err}`)
        if (left <= 0) throw new Error(`No line came in ${waitMs} ms. It said: ${err}`)
        const late = new Promise((resolve) => setTimeout(resolve, left).unref())
        await Promise.race([heard.promise, exit, late])
      }
    },
    exit,
    errors: () => err,
    end() {
      child.kill('SIGTERM')
      return exit
    },
  }
}
