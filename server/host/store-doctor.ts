/**
 * The doctor without a runtime: starts the embedded server of a folder if it is down, asks the tables, stops it again.
 * Nothing is migrated, claimed or written.
 */
import type { Diagnosis } from '../../shared/doctor.ts'
import { realClock } from '../clock.ts'
import { openPostgres } from '../store/postgres/postgres.ts'
import { diagnose, doctorNode } from './doctor.ts'
import { NAMESPACE_DEFAULT } from './options.ts'
import { type StoreReaderOptions, withStore } from './store-reader.ts'

/** Dead letters that are looked at: the newest. */
export const LETTERS_MAX = 100

/** What needs somebody, according to the tables alone.
 *  @throws NOT_FOUND  no database was ever made in the folder  @throws EMBEDDED_* STORE_UNAVAILABLE */
export function diagnoseStore(options: StoreReaderOptions): Promise<Diagnosis> {
  const { schema, namespace = NAMESPACE_DEFAULT } = options
  return withStore(options, async (connection) => {
    const handle = openPostgres({ connection, clock: realClock(), ...(schema === undefined ? {} : { schema }) })
    try {
      const symptoms = await handle.archive.symptoms(namespace)
      const rows = await handle.store.nodes(namespace)
      const letters = await handle.archive.deadLetters(namespace, { limit: LETTERS_MAX })
      return diagnose({ symptoms, nodes: rows.map((row) => doctorNode(row, symptoms.now)), letters }, null)
    } finally {
      await handle.close()
    }
  })
}
