/**
 * A place where code on another thread says that it began and waits to go on. Threads of the pool get plain values
 * only, so it is a folder: who began is a file, and open is a file.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const OPEN = 'open'

export class Gate {
  readonly folder = mkdtempSync(join(tmpdir(), 'vivarium-gate-'))

  /** Names of those that began. */
  begun(): string[] {
    return readdirSync(this.folder)
      .filter((name) => name !== OPEN)
      .sort()
  }

  open(): void {
    writeFileSync(join(this.folder, OPEN), '')
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export function begin(gate: string, name: string): void {
  writeFileSync(join(gate, name), '')
}

/** Blocks its thread, as computing does, until the gate is open; false when it was not in time. */
export function waitFor(gate: string, ms = 30_000): boolean {
  const cell = new Int32Array(new SharedArrayBuffer(4))
  for (let left = ms; ; left -= 1) {
    if (existsSync(join(gate, OPEN))) return true
    if (left <= 0) return false
    Atomics.wait(cell, 0, 0, 1)
  }
}
