/**
 * `server.json`: where local tools find the server of a data folder.
 *
 * - H14: written in one piece, for its owner only, after the port is open; removed at close if it still is this
 *   server's.
 * - Several servers may share a folder. The file belongs to the first one; who comes later takes it over when that one
 *   is gone, so that a folder with a server always has a file that leads to one.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock, Timer } from '../clock.ts'

/** Ms between looks of a server whose folder another one speaks for. */
const LOOK_MS = 5_000
/** Ms a server on this machine has to answer before its file counts as left behind. */
const ANSWER_MS = 1_000

export type ServerFile = { url: string; pid: number; startedAt: number; version: string }

export class Announcement {
  readonly #path: string
  readonly #content: ServerFile
  readonly #clock: Clock
  readonly #report: (error: unknown) => void
  #timer: Timer | null = null
  #withdrawn = false
  #failing = false

  constructor(path: string, content: ServerFile, ports: { clock: Clock; report(error: unknown): void }) {
    this.#path = path
    this.#content = content
    this.#clock = ports.clock
    this.#report = ports.report
  }

  /** Writes the file unless another server answers at the address in it; then it is looked at again later. */
  async publish(): Promise<void> {
    try {
      const found = await this.#read()
      if (found !== null && (this.#isOurs(found) || (await answers(found.url)))) return
      if (!this.#withdrawn) await this.#write()
    } finally {
      if (!this.#withdrawn) this.#lookAgain()
    }
  }

  #lookAgain(): void {
    this.#timer = this.#clock.after(LOOK_MS, () => {
      // A folder that is gone or full is no reason to stop serving; the next look tries again. It is told once.
      this.publish().then(
        () => {
          this.#failing = false
        },
        (error: unknown) => {
          if (!this.#failing) this.#report(error)
          this.#failing = true
        },
      )
    })
    this.#timer.keepAlive(false)
  }

  async withdraw(): Promise<void> {
    this.#withdrawn = true
    this.#timer?.cancel()
    const found = await this.#read()
    if (found !== null && this.#isOurs(found)) await rm(this.#path, { force: true })
  }

  #isOurs(found: ServerFile): boolean {
    return found.pid === this.#content.pid && found.url === this.#content.url
  }

  async #read(): Promise<ServerFile | null> {
    try {
      const found = Object(JSON.parse(await readFile(this.#path, 'utf8'))) as Partial<ServerFile>
      return typeof found.url === 'string' && typeof found.pid === 'number' ? (found as ServerFile) : null
    } catch (error) {
      if (error instanceof SyntaxError) return null // not ours: we write JSON
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw error
    }
  }

  async #write(): Promise<void> {
    const draft = `${this.#path}.${process.pid}`
    await mkdir(dirname(this.#path), { recursive: true })
    await writeFile(draft, `${JSON.stringify(this.#content)}\n`, { mode: 0o600 })
    await rename(draft, this.#path)
  }
}

/** Whether a server of ours answers at the address. */
async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(new URL('api/v1/healthz', `${url}/`), { signal: AbortSignal.timeout(ANSWER_MS) })).ok
  } catch {
    return false // nobody there, or nothing that speaks our protocol
  }
}
