/**
 * DBOS's side: its library in this process, its system database on the Postgres server of the contest, reached by the
 * same unix socket as Vivarium's. A run is one workflow, called directly: queues would add a write and a poll to each.
 */
import postgres from 'postgres'
import { type EmbeddedConnection, startEmbedded } from '../../server/store/embedded/embedded.ts'
import type { Place, Side } from './side.ts'

/** Only what is called here: the product's type check must not need the peers. */
type Dbos = {
  readonly DBOS: {
    setConfig(config: Readonly<Record<string, unknown>>): void
    launch(): Promise<void>
    shutdown(): Promise<void>
    registerWorkflow<A extends unknown[], R>(
      work: (...args: A) => Promise<R>,
      options: { readonly name: string },
    ): (...args: A) => Promise<R>
    runStep<R>(work: () => Promise<R>, options: { readonly name: string }): Promise<R>
  }
}

const PACKAGE: string = '@dbos-inc/dbos-sdk'

export async function open(place: Place): Promise<Side> {
  const server = await startEmbedded({ dataDir: place.folder })
  const database = `dbos_${place.round}`
  const { DBOS } = (await import(PACKAGE)) as Dbos
  DBOS.setConfig({
    name: 'bench-peer',
    systemDatabaseUrl: socketUrl(server.connection, database),
    systemDatabasePoolSize: place.setting,
    logLevel: 'error',
    enableOTLP: false,
  })
  const run = DBOS.registerWorkflow(
    async (steps: number): Promise<number> => {
      let sum = 0
      for (let i = 0; i < steps; i++) sum += await DBOS.runStep(async () => i, { name: 'work' })
      return sum
    },
    { name: 'run' },
  )
  await DBOS.launch()
  const sql = postgres({ ...server.connection, database, max: 1, onnotice: () => undefined })
  return {
    run: (steps) => run(steps),
    recorded: async () => {
      const [row] = await sql<{ steps: number }[]>`select count(*)::int as steps from dbos.operation_outputs`
      return row?.steps ?? 0
    },
    close: async () => {
      await DBOS.shutdown()
      await sql.end({ timeout: 1 })
      const admin = postgres({ ...server.connection, max: 1 })
      await admin`drop database if exists ${admin(database)} with (force)`
      await admin.end({ timeout: 1 })
      await server.release()
    },
  }
}

function socketUrl({ user, password, host, port }: EmbeddedConnection, database: string): string {
  const [name, secret, folder] = [user, password, host].map(encodeURIComponent)
  return `postgresql://${name}:${secret}@${folder}:${port}/${database}`
}
