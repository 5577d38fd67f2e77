/**
 * The database of a runtime: embedded in a folder, or any other by URL; migrated, opened, and joined as a node.
 *
 * - The embedded server is a supervised service: when it goes down it is brought up again, without any agent noticing
 *   more than a pause.
 */
import { resolve } from 'node:path'
import { RuntimeError } from '../../shared/error.ts'
import { type Clock, realClock } from '../clock.ts'
import { hostIdentity } from '../cluster/host-identity.ts'
import { LEASE_MS } from '../cluster/membership.ts'
import type { CrashPoints } from '../crash-point.ts'
import { startEmbedded } from '../store/embedded/embedded.ts'
import { migrate } from '../store/migrate.ts'
import type { PostgresConnection } from '../store/postgres/client.ts'
import { openControl } from '../store/postgres/control.ts'
import { openPostgres } from '../store/postgres/postgres.ts'
import type { NodeIdentity, NodeStart } from '../store/store.ts'
import { StoreFailure } from '../store/store.ts'
import type { Backend } from './backend.ts'
import { DATA_DEFAULT, NAMESPACE_DEFAULT, type RuntimeOptions } from './options.ts'

/** Ms a start waits for a database that is down, and between two attempts. */
const START_WAIT_MS = 30_000
const START_RETRY_MS = 250
/** Ms between attempts to bring the embedded server up again. */
const REVIVE_RETRY_MS = 500

type Server = { connection: PostgresConnection; place: string; dataDir?: string; close(): Promise<void> }

export async function openBackend(
  options: RuntimeOptions,
  databaseUrl: string | null,
  crash: CrashPoints,
): Promise<Backend> {
  const clock = options.clock ?? realClock()
  const server = databaseUrl === null ? await embedded(options, crash) : external(databaseUrl)
  const { connection } = server
  const schema = options.schema === undefined ? {} : { schema: options.schema }
  try {
    const { serverVersion } = await patiently(() => migrate(connection, { ...schema, crash }), server.place, clock)
    const handle = openPostgres({ connection, serverVersion, clock, crash, ...schema })
    let control = openControl({ connection, clock, ...schema })
    let joined = false
    return {
      handle,
      place: server.place,
      ...(server.dataDir === undefined ? {} : { dataDir: server.dataDir }),
      join: async (node, onHint) => {
        // A connection is one node for ever: a node that lost its epoch comes back on a new one.
        if (joined) {
          await control.close()
          control = openControl({ connection, clock, ...schema })
        }
        joined = true
        await control.join(node, onHint)
      },
      hint: (node, target) => control.hint(node, target),
      sessionGone: (node) => control.sessionGone(node),
      close: async () => {
        await control.close()
        await handle.close()
        await server.close()
      },
    }
  } catch (error) {
    await server.close()
    throw error
  }
}

/** Registers this OS process as a node of the namespace. */
export function registerNode(
  backend: Backend,
  options: RuntimeOptions,
  capabilities: Record<string, number>,
): Promise<NodeIdentity> {
  const self = hostIdentity()
  const start: NodeStart = {
    ...self,
    name: options.name ?? `${self.host}:${self.osPid}`,
    capabilities,
    leaseMs: LEASE_MS,
  }
  return backend.handle.store.registerNode(options.namespace ?? NAMESPACE_DEFAULT, start)
}

async function embedded(options: RuntimeOptions, crash: CrashPoints): Promise<Server> {
  const clock = options.clock ?? realClock()
  const dataDir = resolve(options.data ?? DATA_DEFAULT)
  const server = await startEmbedded({ dataDir, clock, crash })
  let closed = false
  const revive = (): void => {
    if (closed) return
    server.ensureRunning().catch(() => {
      // The reason is in the server's log and in the store:down event; what matters here is to try again.
      clock.after(REVIVE_RETRY_MS, revive)
    })
  }
  const unwatch = server.onDown(revive)
  return {
    connection: server.connection,
    place: dataDir,
    dataDir,
    close: async () => {
      closed = true
      unwatch()
      await server.release()
    },
  }
}

function external(url: string): Server {
  const { host, pathname } = new URL(url)
  return { connection: { url }, place: `${host}${pathname}`, close: () => Promise.resolve() }
}

/** A database that is not up yet is waited for; anything else is an error at once.
 *  @throws STORE_UNAVAILABLE naming the place */
async function patiently<T>(work: () => Promise<T>, place: string, clock: Clock): Promise<T> {
  const deadline = clock.monotonic() + START_WAIT_MS
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof StoreFailure)) throw error
      if (error.kind !== 'unavailable') throw unusable(place, 'cannot be used', error)
      if (clock.monotonic() >= deadline) throw unusable(place, `was not there for ${START_WAIT_MS / 1_000} s`, error)
      await new Promise<void>((done) => void clock.after(START_RETRY_MS, done))
    }
  }
}

function unusable(place: string, what: string, cause: StoreFailure): RuntimeError {
  return new RuntimeError(
    'STORE_UNAVAILABLE',
    `The database at ${place} ${what}: ${cause.message.replace(/\.$/, '')}.`,
    { cause },
  )
}
