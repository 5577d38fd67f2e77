/** Sandbox copies of processes over the memory store (test/support/sandbox-contract.ts). */
import { World } from '../support/runtime.ts'
import { sandboxContract } from '../support/sandbox-contract.ts'

sandboxContract('the memory store', {
  open: () => World.memory(),
  async left({ db }, id, pid) {
    if (db === null) throw new Error('This world has no memory store.')
    const byPid = { ...{ journal: db.journal, heads: db.heads, snapshots: db.snapshots, waypoints: db.waypoints } }
    const found = Object.entries({ ...byPid, timers: db.timers, refs: db.blobRefs, processes: db.processes })
      .filter(([, rows]) => rows.has(pid))
      .map(([name]) => name)
    const texts = {
      ...{ pids: [...db.pids.keys()], mailbox: [...db.mailbox.keys()], requests: [...db.requests.keys()] },
      ...{ names: [...db.names.values()], ties: [...db.ties.values()], failures: [...db.failures.values()] },
      ...{ letters: [...db.deadLetters.values()], streams: [...db.streams.values()].map(({ row }) => row) },
    }
    for (const [name, rows] of Object.entries(texts)) if (JSON.stringify(rows).includes(id)) found.push(name)
    return found
  },
})
