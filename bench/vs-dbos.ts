/**
 * Bench `vs-dbos`: recorded steps per second and the latency of a lone step, Vivarium and DBOS alternately, both on the
 * embedded server with fsync on, by its unix socket.
 *
 * Measures: 1,000 runs of ten steps at once, whose functions do nothing; every step is stored before the next begins,
 * and the caller waits for the end. The peer's pool is the best of three sizes on this machine, tried before the
 * rounds; its other settings are in peer/dbos.ts.
 * Leaves out: recovery, work inside steps, several nodes. A run of ours is a turn of an agent that lives, one of theirs
 * is a new workflow; `oursNewAgents` is the same with a new agent for each run.
 * Checked from SQL, each round: the steps stored are those of the finished runs.
 */
import { contest } from './peer/contest.ts'

export function run() {
  return contest({
    peer: 'dbos',
    packages: ['@dbos-inc/dbos-sdk'],
    // Its default is 10; the server takes a hundred connections.
    tuned: { what: 'connections of its pool', settings: [10, 20, 40] },
  })
}
