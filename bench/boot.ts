/**
 * Bench `boot`: from `node` to a served observer, warm: packages installed, data folder made before, page built.
 *
 * Measures: start of the OS process, modules, embedded server, migrations check, tree, port; until `/api/v1/readyz`
 * answers 200. `firstMs` is the same with an empty data folder.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stopEmbedded } from '../server/store/embedded/embedded.ts'
import { median, round } from './stage.ts'

const ROUNDS = 5

export async function run() {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-bench-'))
  try {
    const firstMs = await boot(data)
    const warm: number[] = []
    for (let i = 0; i < ROUNDS; i++) warm.push(await boot(data))
    return { metrics: { readyMs: round(median(warm)), firstMs: round(firstMs) } }
  } finally {
    await stopEmbedded(data, { force: true })
    await rm(data, { recursive: true, force: true })
  }
}

async function boot(data: string): Promise<number> {
  const path = fileURLToPath(new URL('./boot-child.ts', import.meta.url))
  const startedAt = performance.now()
  const child = spawn(process.execPath, ['--conditions=vivarium-source', path, data])
  child.stderr.pipe(process.stderr)
  const [line] = (await once(child.stdout, 'data')) as [Buffer] // its first line is the address
  const url = line.toString().trim()
  for (;;) {
    const answer = await fetch(`${url}/api/v1/readyz`).catch(() => null)
    if (answer?.status === 200) break
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const ms = performance.now() - startedAt
  child.kill('SIGTERM')
  await once(child, 'exit')
  return ms
}
