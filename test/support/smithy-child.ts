/** Starts smithy-main.ts, kills it, starts it again on the same port and data, and asks its API for the truth. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'

const MAIN = fileURLToPath(new URL('./smithy-main.ts', import.meta.url))

const pageSchema = z.object({
  items: z.array(
    z.looseObject({
      id: z.string(),
      agent: z.string().nullable(),
      incarnation: z.number(),
      restarts: z.number(),
      mailbox: z.number(),
      failures: z.number(),
    }),
  ),
  total: z.number(),
  cursor: z.string().nullable(),
})
export type Truth = z.infer<typeof pageSchema>['items'][number]

export class SmithyChild {
  readonly #data: string
  readonly #visitors: number
  #process: ChildProcess | null = null
  #runs = 0
  #url = ''

  private constructor(data: string, visitors: number) {
    this.#data = data
    this.#visitors = visitors
  }

  static async start(visitors: number): Promise<SmithyChild> {
    const child = new SmithyChild(await mkdtemp(join(tmpdir(), 'vivarium-smithy-')), visitors)
    await child.start()
    return child
  }

  get url(): string {
    return this.#url
  }

  /** Marks the visitors of this run. */
  get run(): string {
    return `run${this.#runs}`
  }

  /** Resolves when it listens, on the port it had before, and its load runs. @throws when it ends before */
  async start(): Promise<void> {
    this.#runs += 1
    const { DATABASE_URL: _database, ...env } = process.env
    const port = this.#url === '' ? '0' : new URL(this.#url).port
    const child = fork(MAIN, [this.#data, port, String(this.#visitors), this.run], {
      env,
      execArgv: ['--conditions=vivarium-source'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#process = child
    const [said] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code, signal]) => {
        throw new Error(`The server ended with ${signal ?? code} before it was up.`)
      }),
    ])
    this.#url = z.url().parse(said)
  }

  /** SIGKILL: nothing is said to anybody. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === null) return
    this.#process = null
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  /** Every process the API lists, by id. */
  async truth(): Promise<Truth[]> {
    const found: Truth[] = []
    let cursor: string | null = null
    do {
      const address = new URL('api/v1/processes?sort=id&limit=1000', this.#url)
      if (cursor !== null) address.searchParams.set('cursor', cursor)
      const page: z.infer<typeof pageSchema> = pageSchema.parse(await (await fetch(address)).json())
      found.push(...page.items)
      cursor = page.cursor
    } while (cursor !== null)
    return found
  }

  async clean(): Promise<void> {
    await this.kill()
    await stopEmbedded(this.#data, { force: true })
    await rm(this.#data, { recursive: true, force: true })
  }
}
