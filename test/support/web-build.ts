/** Vitest global setup of the browser project: the pages under test are those of the sources as they are now. */
import { buildWeb } from '../../web/build.ts'

export async function setup(): Promise<void> {
  await buildWeb({ ifStale: true })
}
