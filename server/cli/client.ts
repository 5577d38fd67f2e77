/**
 * The server a command talks to, found and spoken to over HTTP.
 *
 * - Search order: `--url`, VIVARIUM_URL, `server.json` in the folder of `--data`, `server.json` in `./.vivarium`.
 * - A server.json whose program is gone is not followed: something else may answer on that port by now.
 */
import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { problemSchema } from '../../shared/frame.ts'
import { readConfig } from '../config.ts'
import { SERVER_FILE } from '../paths.ts'
import { CliError, EXIT, problemError, usage } from './outcome.ts'
import { isServerAlive } from './server-process.ts'

export const DATA_DEFAULT = '.vivarium'

const serverFileSchema = z.object({ url: z.string(), pid: z.int(), startedAt: z.number(), version: z.string() })
export type ServerFile = z.infer<typeof serverFileSchema>

export type Place = { url?: string | undefined; data?: string | undefined; token?: string | undefined }

export type Client = {
  readonly url: string
  /** Body of the answer. @throws CliError */
  get(path: string, query?: Record<string, string | undefined>): Promise<unknown>
  post(path: string, body: Record<string, unknown>): Promise<unknown>
}

/** @throws CliError SERVER_NOT_FOUND with where it was looked for */
export async function findServer(place: Place): Promise<Client> {
  const given = place.url ?? (place.data === undefined ? readConfig().serverUrl : null)
  if (given !== null && given !== undefined) return connect(parsedUrl(given), place.token)
  const folder = resolve(place.data ?? DATA_DEFAULT)
  const file = await readServerFile(folder)
  if (file === null) {
    throw unreachable(
      `No server was found: ${join(folder, SERVER_FILE)} does not exist. Start one with viv start, or pass --url, ` +
        '--data, or set VIVARIUM_URL.',
    )
  }
  if (!(await isServerAlive(file))) {
    throw unreachable(
      `The server of ${folder} (process ${file.pid}) is gone. Start it again with viv start --data ${folder}.`,
    )
  }
  return connect(new URL(file.url), place.token)
}

/** Null when there is none. @throws CliError when it is not ours */
export async function readServerFile(folder: string): Promise<ServerFile | null> {
  const path = join(folder, SERVER_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null
    throw error
  }
  const parsed = serverFileSchema.safeParse(parseJson(text))
  if (parsed.success) return parsed.data
  throw new CliError(EXIT.failed, `${path} is not a server file. Remove it, then start the server again.`)
}

function connect(base: URL, token: string | undefined): Client {
  const url = base.href.replace(/\/+$/, '')
  const headers: Record<string, string> = { 'vivarium-actor': `cli:${userName()}` }
  if (token !== undefined) headers.authorization = `Bearer ${token}`
  const ask = async (target: string, init: RequestInit): Promise<unknown> => {
    let response: Response
    try {
      response = await fetch(target, init)
    } catch (error) {
      throw unreachable(
        `${url} does not answer (${reason(error)}). Check the address, or start the server with viv start.`,
      )
    }
    const body = parseJson(await response.text())
    if (response.ok) return body
    const problem = problemSchema.safeParse(body)
    if (problem.success) throw problemError(problem.data)
    throw unreachable(`${url} answered ${response.status} and is no Vivarium server. Check the address.`)
  }
  return {
    url,
    get: (path, query = {}) => {
      const search = new URLSearchParams()
      for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, value)
      return ask(`${url}/api/v1${path}${search.size > 0 ? `?${search}` : ''}`, { headers })
    },
    post: (path, body) =>
      ask(`${url}/api/v1${path}`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
  }
}

function parsedUrl(text: string): URL {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  if (url === null) throw usage(`${JSON.stringify(text)} is no URL. Write for example http://127.0.0.1:4711.`)
  return url
}

function unreachable(message: string): CliError {
  return new CliError(EXIT.unreachable, message, 'SERVER_NOT_FOUND')
}

function reason(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error
  const code: unknown = Reflect.get(Object(cause), 'code')
  return typeof code === 'string' ? code : String(Reflect.get(Object(cause), 'message') ?? cause)
}

function userName(): string {
  try {
    return userInfo().username.replace(/[^\w.@-]/g, '_')
  } catch {
    return 'unknown' // a user id without an entry in the user database
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // every caller checks the shape and says what it is not
  }
}
