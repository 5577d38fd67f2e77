/**
 * Runs one server program to its end, under the server user, in a session of its own so that Ctrl-C in the terminal
 * does not cut an initdb in half. The environment is built here and not inherited: PGDATA or a locale of the caller
 * must not reach the server. TZ spares initdb a search through all time zones.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { RuntimeError } from '../../../shared/error.ts'
import type { Binaries } from './binary.ts'
import { errorCode } from './folder.ts'
import type { ServerUser } from './user.ts'

export type CommandPlace = { readonly binaries: Binaries; readonly user: ServerUser | undefined; readonly cwd: string }
export type CommandResult = { readonly code: number | null; readonly output: string }

const ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' }
/** Characters kept of what the program prints; errors come last. */
const OUTPUT_LENGTH_MAX = 8_000

export function runCommand(program: string, args: readonly string[], place: CommandPlace): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>()
  const path = join(place.binaries.bin, program)
  const child = spawn(path, args, {
    cwd: place.cwd,
    env: ENVIRONMENT,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(place.user === undefined ? {} : { uid: place.user.uid, gid: place.user.gid }),
  })
  let output = ''
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-OUTPUT_LENGTH_MAX)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  child.once('error', (cause) => reject(unrunnable(path, cause)))
  child.once('close', (code) => resolve({ code, output: output.trim() }))
  return promise
}

function unrunnable(path: string, cause: Error): RuntimeError {
  // The file is there (binary.ts looked), so ENOENT means its loader is not: a system without glibc, such as Alpine.
  const code = errorCode(cause) === 'ENOENT' ? 'EMBEDDED_UNSUPPORTED_PLATFORM' : 'EMBEDDED_START_FAILED'
  return new RuntimeError(
    code,
    `${path} cannot be run here (${errorCode(cause) ?? cause.message}). Use a system with glibc whose temp folder ` +
      'allows programs, or set DATABASE_URL.',
    { cause },
  )
}
