/**
 * Runs one bench: `npm run bench -- NAME [--json]`. With `--json` the last line is `{"bench", "metrics"}`.
 */
import { parseArgs } from 'node:util'

export const BENCHES = [
  'durable-turns',
  'hot-entity',
  'durable-steps',
  'call',
  'spawn',
  'observe-tax',
  'feed-fanout',
  'recovery',
  'boot',
  'compute',
  'watchdog',
  'store-commit',
  'vs-dbos',
  'vs-restate',
] as const

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
})
const name = BENCHES.find((bench) => bench === positionals[0])
if (name === undefined) {
  console.error(`Name one bench: ${BENCHES.join(', ')}.`)
  process.exit(2)
}
type Bench = { run(): Promise<{ metrics: Record<string, number> }> }
const { run } = (await import(`./${name}.ts`)) as Bench // by convention
const { metrics } = await run()
if (values.json) console.log(JSON.stringify({ bench: name, metrics }))
else console.table(metrics)
process.exit(0)
