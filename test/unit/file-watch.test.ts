import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FileWatch } from '../../server/cli/dev/file-watch.ts'
import { realClock } from '../../server/clock.ts'

let folder: string
let watch: FileWatch
let changes: string[][]
let failed: string[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vivarium-watch-'))
  changes = []
  failed = []
  watch = new FileWatch(realClock(), {
    changed: (paths) => void changes.push(paths),
    failed: (path) => void failed.push(path),
  })
})
afterEach(async () => {
  watch.close()
  await rm(folder, { recursive: true, force: true })
})

const heard = (paths: string[]) => expect.poll(() => changes.at(-1), { timeout: 4_000 }).toEqual(paths)

test('[H22] a file that is written, or put in the place of the old one, has changed; no other has', async () => {
  const [path, other, draft] = [join(folder, 'a.ts'), join(folder, 'b.ts'), join(folder, 'a.ts~')]
  watch.add(path)
  await writeFile(other, '1')
  await writeFile(path, '1')
  await heard([path])
  await writeFile(draft, '2')
  changes = []
  await rename(draft, path)
  await heard([path])
})

test('[H22] a folder that was taken away and made again is watched anew', async () => {
  const path = join(folder, 'feature', 'a.ts')
  await mkdir(join(folder, 'feature'))
  watch.add(path)
  await rm(join(folder, 'feature'), { recursive: true })
  // Some file systems tell the time of birth by the tick of the kernel.
  await setTimeout(20)
  await mkdir(join(folder, 'feature'))
  watch.add(path)
  await writeFile(path, '1')
  await heard([path])
})

test('[H22] a folder that is not there cannot be watched, and that is said', () => {
  watch.add(join(folder, 'nowhere', 'a.ts'))
  expect(failed).toEqual([join(folder, 'nowhere')])
})
