/** Vivarium's side: a thousand agents that live, one for each caller; a run is one durable turn of one of them. */

import postgres from 'postgres'
import { agent, createRuntime, pool } from '../../server/index.ts'
import { startEmbedded } from '../../server/store/embedded/embedded.ts'
import { LANES } from './measure.ts'
import type { Place, Side } from './side.ts'

/** Ms a run may take. The default of calls is for callers; the peers wait without a limit. */
const RUN_MS_MAX = 120_000
const DEADLOCK = '40P01'

const runner = agent('runner', {
  state: () => ({ runs: 0 }),
  on: {
    async run(ctx, steps: number): Promise<number> {
      let sum = 0
      for (let i = 0; i < steps; i++) sum += await ctx.step('work', () => i)
      ctx.state.runs += 1
      return sum
    },
  },
})

export function open(place: Place): Promise<Side> {
  return openVivarium(place, (lane) => `k${lane}`)
}

/** `key` names the agent of the next run of a lane. */
export async function openVivarium(place: Place, key: (lane: number) => string): Promise<Side> {
  const server = await startEmbedded({ dataDir: place.folder })
  const schema = `vivarium_${place.round}`
  const runtime = await createRuntime({ root: pool(runner), data: place.folder, schema })
  const sql = postgres({ ...server.connection, max: 1, onnotice: () => undefined })
  await Promise.all(Array.from({ length: LANES }, (_, lane) => runtime.ref(runner, `k${lane}`).run(0)))
  return {
    run: (steps, lane) => runtime.ref(runner, key(lane)).run(steps).run({ timeoutMs: RUN_MS_MAX }),
    recorded: async () => {
      const mark = '"k":"step"'
      const [row] = await sql<{ steps: number }[]>`
        select sum((length(payload) - length(replace(payload, ${mark}, ''))) / ${mark.length}::int)::int as steps
        from ${sql(schema)}.journal`
      return row?.steps ?? 0
    },
    close: async () => {
      await runtime.stop()
      await dropSchema(sql, schema)
      await sql.end({ timeout: 1 })
      await server.release()
    },
  }
}

/** A statement that the runtime did not wait for may still run on the server and win a deadlock against this. */
async function dropSchema(sql: postgres.Sql, schema: string): Promise<void> {
  for (;;) {
    try {
      await sql`drop schema if exists ${sql(schema)} cascade`
      return
    } catch (error) {
      if (!(error instanceof postgres.PostgresError && error.code === DEADLOCK)) throw error
    }
  }
}
