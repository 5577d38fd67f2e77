/**
 * Bench `vs-restate`: recorded steps per second and the latency of a lone step, Vivarium on its embedded server and
 * Restate on its own store alternately, both with fsync on.
 *
 * Measures: 1,000 runs of ten steps at once, whose functions do nothing; every step is stored before the next begins,
 * and the caller waits for the end. The peer's partitions are the best of three numbers on this machine, tried before
 * the rounds; its other settings are in peer/restate.ts.
 * Leaves out: recovery, work inside steps, several nodes. Restate's server is a process of its own: a step crosses
 * loopback where ours stays in the process, which is a property of the peer and not of this bench. A run of ours is a
 * turn of an agent that lives, one of theirs is a new invocation; `oursNewAgents` has a new agent for each run.
 * Checked by SQL of each side, each round: the steps stored are those of the finished runs.
 */
import { contest } from './peer/contest.ts'

export function run() {
  return contest({
    peer: 'restate',
    packages: ['@restatedev/restate-sdk', '@restatedev/restate-server'],
    // Its default is 24, meant for clusters; its fsyncs are shared by the runs of one partition.
    tuned: { what: 'partitions', settings: [1, 4, 24] },
  })
}
