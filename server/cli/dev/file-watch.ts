/**
 * Tells of changes of files, a moment after the last of them.
 *
 * - Folders are watched, not files: editors write a new file and put it in the place of the old one.
 * - A folder that was taken away and made again is another one: it is watched anew when a file of it is added again.
 */
import { type FSWatcher, statSync, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Clock, Timer } from '../../clock.ts'

/** Ms. A save is several events, and many editors save several files at once. */
const SETTLE_MS = 100

export class FileWatch {
  readonly #clock: Clock
  readonly #changed: (paths: string[]) => void
  readonly #failed: (folder: string, error: unknown) => void
  readonly #folders = new Map<string, { which: string; watcher: FSWatcher; names: Set<string> }>()
  #pending = new Set<string>()
  #timer: Timer | null = null

  /** @param failed  the folder cannot be watched: what changes there is not seen */
  constructor(
    clock: Clock,
    hooks: { changed: (paths: string[]) => void; failed: (folder: string, error: unknown) => void },
  ) {
    this.#clock = clock
    this.#changed = hooks.changed
    this.#failed = hooks.failed
  }

  add(path: string): void {
    const folder = dirname(path)
    const known = this.#folders.get(folder)
    try {
      // Numbers of inodes are given out again.
      const { ino, birthtimeMs } = statSync(folder)
      const which = `${ino} ${birthtimeMs}`
      if (known?.which === which) {
        known.names.add(basename(path))
        return
      }
      known?.watcher.close()
      const names = new Set([basename(path), ...(known?.names ?? [])])
      const watcher = watch(folder, (_event, name) => {
        if (name !== null && names.has(name)) this.#note(join(folder, name))
      })
      watcher.on('error', (error) => {
        watcher.close()
        this.#folders.delete(folder)
        this.#failed(folder, error)
      })
      this.#folders.set(folder, { which, watcher, names })
    } catch (error) {
      this.#failed(folder, error)
    }
  }

  close(): void {
    this.#timer?.cancel()
    for (const { watcher } of this.#folders.values()) watcher.close()
    this.#folders.clear()
  }

  #note(path: string): void {
    this.#pending.add(path)
    this.#timer?.cancel()
    this.#timer = this.#clock.after(SETTLE_MS, () => {
      const paths = [...this.#pending].sort()
      this.#pending = new Set()
      this.#changed(paths)
    })
  }
}
