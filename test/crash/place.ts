/** Files that a child of the suite writes synchronously, so that they survive its SIGKILL: they are the truth. */
import { join } from 'node:path'

/** One chain of children: a data folder, a schema in its database, and the files beside it. */
export class Place {
  readonly data: string
  readonly schema: string
  /** What the load wanted and what it was told (fact.ts). */
  readonly facts: string
  /** The outside world that steps act upon: one line per effect. */
  readonly effects: string
  /** Names of the crash points that were hit, in all schemas of the chain. */
  readonly hits: string

  constructor(folder: string, schema: string, hits: string) {
    this.data = join(folder, 'data')
    this.schema = schema
    this.facts = join(folder, `${schema}.facts`)
    this.effects = join(folder, `${schema}.effects`)
    this.hits = join(folder, hits)
  }
}
