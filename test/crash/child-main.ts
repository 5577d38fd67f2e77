/**
 * A real server process under load, made to be killed: `child-main.ts DATA SCHEMA FACTS EFFECTS RUN SEED MODE`.
 *
 * - MODE `load` works until it dies; `settle` only finishes what others began. Says `up`, then `finished` when there is
 *   nothing left to ask for again. `load-through` works as `load` does and outlives the epoch of its node: what became
 *   of a call without a row is then not known, and it has no operator, who would have to follow processes to their new
 *   node. The word `freeze` stops it as a whole until it is told to go on. `send-bomb` and `call-bomb` add a message
 *   that kills every node that takes it. SIGTERM drains, and the exit code is 0.
 */
import { createRuntime, supervisor } from 'vivarium'
import { actIn, bank, bomb } from './bank.ts'
import { Chance } from './chance.ts'
import { errandsOf } from './errand.ts'
import { Desk } from './errand-desk.ts'
import { hospital, treatIn, treatmentsOf } from './hospital.ts'
import { hurriedClock } from './hurried-clock.ts'
import { Load } from './load.ts'
import { Operator } from './operator.ts'
import { liveAs, sagas } from './saga.ts'
import { SagaDesk } from './saga-desk.ts'

const [, , data = '', schema = '', facts = '', effects = '', run = '', seed = '1', mode = 'load'] = process.argv
actIn(effects, schema)
liveAs(run)
treatIn(treatmentsOf(effects))
/** The nth child runs the nth version of the code. */
const errands = errandsOf(Number(run.slice(1)))
const root = supervisor('town', { strategy: 'one_for_one', children: [bank, errands.root, sagas, hospital] })
const runtime = await createRuntime({ root, data, schema, clock: hurriedClock() })
const chance = new Chance(Number(seed))
const desk = new Desk({ runtime, facts, effects, run, chance, agents: errands.agents })
const sagaDesk = new SagaDesk({ runtime, facts, effects, run })
const load = new Load({ runtime, facts, run, chance, desk, sagas: sagaDesk, mayLose: mode === 'load-through' })
const operator = new Operator({ runtime, facts, run })
process.once('SIGTERM', () => {
  load.stop()
  operator.stop()
  runtime.stop('SIGTERM').then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
// Between two tasks, never between the question for the lease and the effect it is for: there nobody could help.
process.on('message', (word) => word === 'freeze' && process.kill(process.pid, 'SIGSTOP'))
process.send?.('up')
if (mode === 'settle') {
  await Promise.all([load.finish(), operator.finish()])
  process.send?.('finished')
} else {
  const working = Promise.all([load.run(), ...(mode === 'load-through' ? [] : [operator.run()])])
  if (mode === 'send-bomb') await runtime.send(runtime.ref(bomb, run).blow({ id: run }))
  if (mode === 'call-bomb') await runtime.ref(bomb, run).blow({ id: run })
  await working
}
