/** Data folders of the embedded server's own tests, and the check that no process is left on them. */
import { mkdtemp, readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'

export type TestFolders = {
  make(): Promise<string>
  /** Stops what still runs, removes the folders, and returns what had been left running. */
  clear(): Promise<string[]>
}

export function testFolders(): TestFolders {
  const made: string[] = []
  return {
    async make() {
      const path = await realpath(await mkdtemp(join(tmpdir(), 'vivarium-embedded-')))
      made.push(path)
      return path
    },
    async clear() {
      const left: string[] = []
      for (const path of made.splice(0)) {
        if ((await processesBelow(path)).length > 0) left.push(path)
        await stopEmbedded(path, { force: true })
        await rm(path, { recursive: true, force: true })
      }
      return left
    },
  }
}

/** Pid of the server on a data folder, from its own pid file. */
export async function serverPid(dataDir: string): Promise<number> {
  const file = await readFile(join(dataDir, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')
  return Number(file.split('\n')[0])
}

/** Processes that work below `path`; on systems without /proc nobody can tell, and none are reported. */
export async function processesBelow(path: string): Promise<number[]> {
  const pids = (await readdir('/proc').catch(() => [])).map(Number).filter((pid) => pid > 0)
  const folders = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')))
  return pids.filter((_, index) => folders[index]?.startsWith(`${path}/`))
}
