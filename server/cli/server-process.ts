/**
 * Whether the program that wrote a server.json still runs. A killed server leaves its file behind, and its pid may be
 * given to another program, which must be neither asked nor signalled: one that began after the file was written is
 * another one.
 */
import { readFile } from 'node:fs/promises'
import { startTime } from '../store/embedded/identity.ts'

/** Clock ticks a second in /proc, on every Linux that runs Node. */
const TICKS_PER_SECOND = 100
/** Milliseconds; the boot time of /proc has whole seconds, and clocks are corrected while a machine runs. */
const TOLERANCE_MS = 5_000

export async function isServerAlive(file: { pid: number; startedAt: number }): Promise<boolean> {
  const started = await startTime(file.pid)
  if (started === undefined) return false
  const at =
    process.platform === 'linux' ? (await bootMs()) + (Number(started) / TICKS_PER_SECOND) * 1_000 : Date.parse(started)
  return !(at > file.startedAt + TOLERANCE_MS)
}

async function bootMs(): Promise<number> {
  const line = /^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8'))
  return Number(line?.[1] ?? 0) * 1_000
}
