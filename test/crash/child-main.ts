/**
 * A real server process under load, made to be killed: `child-main.ts DATA SCHEMA FACTS EFFECTS RUN SEED MODE`.
 *
 * - MODE `load` works until it dies; `settle` only finishes what others began. Says `up`, then `finished` when there is
 *   nothing left to ask for again. `send-bomb` and `call-bomb` add a message that kills every node that takes it.
 *   SIGTERM drains and exits with 0.
 */
import { createRuntime } from 'vivarium'
import { actIn, bank, bomb } from './bank.ts'
import { Chance } from './chance.ts'
import { Load } from './load.ts'

const [, , data = '', schema = '', facts = '', effects = '', run = '', seed = '1', mode = 'load'] = process.argv
actIn(effects, schema)
const runtime = await createRuntime({ root: bank, data, schema })
const load = new Load({ runtime, facts, run, chance: new Chance(Number(seed)) })
process.once('SIGTERM', () => {
  load.stop()
  runtime.stop('SIGTERM').then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
process.send?.('up')
if (mode === 'settle') {
  await load.finish()
  process.send?.('finished')
} else {
  const working = load.run()
  if (mode === 'send-bomb') await runtime.send(runtime.ref(bomb, run).blow({ id: run }))
  if (mode === 'call-bomb') await runtime.ref(bomb, run).blow({ id: run })
  await working
}
