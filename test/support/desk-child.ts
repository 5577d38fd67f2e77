/**
 * The desk as its users run it: `examples/desk/main.ts` in a child process with a data folder of its own, and
 * `desk:check` on that folder. `clean` ends what a test left behind.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Evidence, readEvidence } from '../../examples/desk/evidence.ts'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'

export type DeskReport = {
  ok: boolean
  accepted: number
  answered: number
  open: number
  deadLetters: number
  orders: number
  rate: number | null
  findings: { rule: string; row: string; what: string }[]
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const node = [process.execPath, '--conditions=vivarium-source'] as const
/** A child must neither use the database of the test run nor be traced. */
const { DATABASE_URL: _database, ...env } = process.env

export class DeskChild {
  readonly #child: ChildProcess
  output = ''

  constructor(args: readonly string[]) {
    const [path, ...flags] = node
    this.#child = spawn(path, [...flags, 'examples/desk/main.ts', ...args], { cwd: root, env, stdio: 'pipe' })
    const keep = (chunk: Buffer) => {
      this.output += chunk.toString()
      this.#child.emit('printed')
    }
    this.#child.stdout?.on('data', keep)
    this.#child.stderr?.on('data', keep)
  }

  /** Resolves once the output matches. @throws when the child ends before */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.output)
      if (found !== null) return found
      if (this.#ended) throw new Error(`The desk ended before it printed ${pattern}:\n${this.output}`)
      await Promise.race([once(this.#child, 'printed'), once(this.#child, 'exit')])
    }
  }

  async feed(text: string): Promise<void> {
    this.#child.stdin?.end(text)
  }

  /** The address of the API once it listens. */
  async url(): Promise<string> {
    const [, url = ''] = await this.printed(/open: (http\S+)/)
    return url.replace(/\/$/, '')
  }

  /** Exit code, or null after a signal. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (!this.#ended) {
      const exit = once(this.#child, 'exit')
      this.#child.kill(signal)
      await exit
    }
    return this.#child.exitCode
  }

  async exit(): Promise<number | null> {
    if (!this.#ended) await once(this.#child, 'exit')
    return this.#child.exitCode
  }

  get #ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }
}

/** A data folder, its children, and the end of both. */
export class DeskPlace {
  readonly dir: string
  readonly #children: DeskChild[] = []

  private constructor(dir: string) {
    this.dir = dir
  }

  static async create(): Promise<DeskPlace> {
    return new DeskPlace(await mkdtemp(join(tmpdir(), 'vivarium-desk-')))
  }

  get data(): string {
    return join(this.dir, 'data')
  }

  start(...args: string[]): DeskChild {
    const child = new DeskChild(['--port', '0', '--data', this.data, ...args])
    this.#children.push(child)
    return child
  }

  /** What the check would judge by, read in this process: quick enough to look often. */
  evidence(): Promise<Evidence> {
    return readEvidence({ data: this.data })
  }

  /** What `npm run desk:check -- --json` says, and its exit code. */
  async check(): Promise<DeskReport & { code: number }> {
    const [path, ...flags] = node
    const args = [...flags, 'examples/desk/check.ts', '--data', this.data, '--json']
    const { stdout, code } = await promisify(execFile)(path, args, { cwd: root, env }).then(
      (done) => ({ stdout: done.stdout, code: 0 }),
      (error: { stdout: string; stderr: string; code: number }) => {
        if (error.code !== 1) throw new Error(`The check failed: ${error.stderr}`)
        return error
      },
    )
    return { ...(JSON.parse(stdout) as DeskReport), code }
  }

  async clean(): Promise<void> {
    for (const child of this.#children) await child.end('SIGKILL')
    await stopEmbedded(this.data, { force: true })
    await rm(this.dir, { recursive: true, force: true })
  }
}
