/** The channel between the nodes of one MemoryDatabase. A closed or dropped handle is a session that is gone. */
import type { ControlConnection, ControlNode } from '../control.ts'
import type { MemoryDatabase } from './database.ts'

export function openMemoryControl(db: MemoryDatabase): ControlConnection {
  let joined: ControlNode | null = null
  return {
    async join(node, onHint) {
      if (joined !== null) throw new Error(`This control connection is node ${joined.id} already.`)
      joined = node
      db.sessions.set(node.id, { epoch: node.epoch, onHint })
      const row = db.nodes.get(node.id)
      if (row !== undefined && db.alive(node)) row.session = true
    },
    hint(node, target) {
      const { namespace } = joined ?? {}
      db.clock.macrotask(() => {
        if (namespace !== undefined && db.nodes.get(node)?.namespace === namespace) {
          db.sessions.get(node)?.onHint([target])
        }
      })
    },
    async sessionGone({ id, epoch }) {
      const row = db.nodes.get(id)
      if (row === undefined || row.epoch !== epoch || !row.session) return null
      return db.sessions.get(id)?.epoch !== epoch
    },
    async close() {
      if (joined !== null && db.sessions.get(joined.id)?.epoch === joined.epoch) db.sessions.delete(joined.id)
    },
  }
}
