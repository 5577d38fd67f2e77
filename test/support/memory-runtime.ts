/** A runtime through the public door, over the memory store, in the time of the machine. */
import { createRuntime, type Runtime } from 'vivarium'
import { realClock } from '../../server/clock.ts'
import type { RuntimeOptions } from '../../server/host/options.ts'
import { openMemoryControl } from '../../server/store/memory/control.ts'
import { MemoryDatabase, openMemory } from '../../server/store/memory.ts'

export function memoryRuntime(options: Omit<RuntimeOptions, 'backend'>): Promise<Runtime> {
  return createRuntime({
    ...options,
    backend: async () => {
      const database = new MemoryDatabase(realClock())
      const handle = openMemory(database)
      const control = openMemoryControl(database)
      return {
        handle,
        place: 'memory',
        join: (node, onHint) => control.join(node, onHint),
        hint: (node, target) => control.hint(node, target),
        sessionGone: (node) => control.sessionGone(node),
        close: async () => {
          await control.close()
          await handle.close()
        },
      }
    },
  })
}
