/**
 * Errors that escaped: a floating rejection or a throw in an agent's own timer crashes that agent only.
 *
 * - The owner is found by AsyncLocalStorage, which Node keeps for both events.
 * - An error that belongs to no agent of any runtime keeps Node's default: it is thrown again, and ends the process.
 * - One pair of listeners serves all runtimes of the OS process; it is gone when the last runtime stopped.
 */
export interface OwnerOfErrors {
  /** True when the error belonged to one of its processes and was handled. */
  claim(error: unknown): boolean
}

type Hub = { owners: Set<OwnerOfErrors>; onRejection(error: unknown): void; onException(error: unknown): void }

/** Shared by every copy of the package in the process: two copies must not throw each other's errors. */
const HUB: unique symbol = Symbol.for('vivarium.owners') as never // unique symbols need a cast here

export function watchErrors(owner: OwnerOfErrors): () => void {
  const hub = hubOf(globalThis)
  if (hub.owners.size === 0) {
    process.on('unhandledRejection', hub.onRejection)
    process.on('uncaughtException', hub.onException)
  }
  hub.owners.add(owner)
  return () => {
    hub.owners.delete(owner)
    if (hub.owners.size > 0) return
    process.off('unhandledRejection', hub.onRejection)
    process.off('uncaughtException', hub.onException)
  }
}

function hubOf(global: object): Hub {
  const found: unknown = Reflect.get(global, HUB)
  if (typeof found === 'object' && found !== null) return found as Hub // written below, under a symbol of ours
  const owners = new Set<OwnerOfErrors>()
  const claimed = (error: unknown): boolean => [...owners].some((owner) => owner.claim(error))
  const hub: Hub = {
    owners,
    onRejection: (error) => {
      if (!claimed(error)) throw error // becomes an uncaught exception, as without us
    },
    onException: (error) => {
      if (claimed(error)) return
      process.off('uncaughtException', hub.onException)
      throw error
    },
  }
  Reflect.set(global, HUB, hub)
  return hub
}
