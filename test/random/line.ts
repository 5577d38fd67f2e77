/**
 * What the programs did outside of the runtime, one JSON line each, written synchronously: a line is there after a
 * SIGKILL, and lines of a later child come after those of the one before.
 */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs'

export type Line =
  /** The handler was entered: the first time, or again to be replayed. */
  | { e: 'begin'; path: string; attempt: number }
  /** The function of a step ran. */
  | { e: 'effect'; path: string; value: string; attempt: number; key: string }
  /** The function of an external step handed its token out. */
  | { e: 'token'; path: string; token: string; outcome: 'value' | 'rivals' | 'error' }
  /** An outcome from outside was taken; null when there was one already. */
  | { e: 'settled'; path: string; token: string; value: string | null }
  | { e: 'ended'; program: string; result: number }
  /** Something that must not fail. */
  | { e: 'failed'; what: string; why: string }

/** The writing end; one file is written by one child at a time. */
export class LineFile {
  readonly #file: number

  constructor(path: string) {
    this.#file = openSync(path, 'a')
  }

  write(line: Line): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

export function readLog(path: string): Line[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Line) // written by LineFile
}
