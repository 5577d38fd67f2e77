/**
 * What a test reads of journals after a storm: every stored entry of its processes, and the signs of a torn history.
 *
 * - An entry is stored once: a step that is there twice was recorded by two owners or under two places.
 * - A replay that asked for something else than the journal holds leaves `diverged` in row and journal (T5).
 */
import postgres from 'postgres'
import { expect } from 'vitest'
import { decodeEntries, type Entry } from '../../server/journal/entry.ts'
import type { TestConnection } from '../support/postgres.ts'

export class JournalBook {
  readonly #sql: postgres.Sql

  constructor(connection: TestConnection) {
    this.#sql = postgres({ ...connection, max: 1 })
  }

  /** Entries of each process of these agents, in order. */
  async entries(...agents: string[]): Promise<Map<string, Entry[]>> {
    const rows = await this.#sql<{ id: string; payload: string }[]>`
      select p.id, j.payload from vivarium.journal j join vivarium.processes p on p.pid = j.process
      where p.agent = any(${agents}) order by p.id, j.seq`
    const found = new Map<string, Entry[]>()
    for (const { id, payload } of rows) found.set(id, [...(found.get(id) ?? []), ...decodeEntries(payload)])
    return found
  }

  async waiting(target: string): Promise<number> {
    return (await this.#sql`select 1 from vivarium.mailbox where target = ${target}`).length
  }

  /** Nothing diverged, failed or was stored twice; no message of these processes is left. Returns their steps. */
  async expectWhole(...agents: string[]): Promise<Map<string, string[]>> {
    const torn = await this.#sql`
      select id from vivarium.processes where agent = any(${agents}) and (diverged or owner is null and open)`
    expect(torn.map((row) => row['id'])).toEqual([])
    const steps = new Map<string, string[]>()
    for (const [id, entries] of await this.entries(...agents)) {
      const bad = entries.filter(({ k }) => k === 'diverged' || k === 'failed')
      expect([id, bad]).toEqual([id, []])
      const keys = entries.flatMap((entry) => (entry.k === 'step' ? [`${entry.turn} ${entry.key}`] : []))
      expect([id, keys.length - new Set(keys).size]).toEqual([id, 0])
      const taken = entries.flatMap((entry) =>
        entry.k === 'received' && entry.message !== null ? [entry.message.id] : [],
      )
      expect([id, taken.length - new Set(taken).size]).toEqual([id, 0])
      steps.set(
        id,
        keys.map((key) => key.split(' ').slice(1).join(' ')),
      )
    }
    return steps
  }

  close(): Promise<void> {
    return this.#sql.end()
  }
}
