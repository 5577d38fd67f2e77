/**
 * The doctor without a runtime: starts the embedded server of a folder if it is down, asks the tables, stops it again.
 * Nothing is migrated, claimed or written.
 */
import type { Diagnosis } from '../../shared/doctor.ts'
import { realClock } from '../clock.ts'
import { openPostgres } from '../store/postgres/postgres.ts'
import { diagnose, doctorFacts } from './doctor.ts'
import { NAMESPACE_DEFAULT } from './options.ts'
import { type StoreReaderOptions, withStore } from './store-reader.ts'

/** What needs somebody, according to the tables alone.
 *  @throws NOT_FOUND  no database was ever made in the folder  @throws EMBEDDED_* STORE_UNAVAILABLE */
export function diagnoseStore(options: StoreReaderOptions): Promise<Diagnosis> {
  const { schema, namespace = NAMESPACE_DEFAULT } = options
  return withStore(options, async (connection) => {
    const handle = openPostgres({ connection, clock: realClock(), ...(schema === undefined ? {} : { schema }) })
    try {
      return diagnose(await doctorFacts(handle, namespace), null)
    } finally {
      await handle.close()
    }
  })
}
