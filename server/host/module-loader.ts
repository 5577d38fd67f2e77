/** Agent modules: the tree is the default export; exported agents are known although no tree names them. */
import { RuntimeError } from '../../shared/error.ts'
import { type AnyAgent, isAgent } from '../definition/agent.ts'
import { isSupervisor, type PoolDefinition, type SupervisorDefinition } from '../definition/supervisor.ts'

export type LoadedModules = { root: SupervisorDefinition | PoolDefinition | null; agents: AnyAgent[] }

/** @throws MODULE_LOAD_FAILED  naming the module, its cause kept
 *  @throws DEFINITION_INVALID  two trees, a default export that is none, or a module with nothing to run */
export async function loadModules(urls: readonly URL[]): Promise<LoadedModules> {
  const loaded: LoadedModules = { root: null, agents: [] }
  for (const url of urls) {
    const exports = await load(url)
    for (const [name, value] of Object.entries(exports)) {
      if (isAgent(value)) loaded.agents.push(value)
      else if (name === 'default' && isSupervisor(value)) {
        if (loaded.root !== null)
          throw new RuntimeError('DEFINITION_INVALID', `${url.href} is a second tree; name one root.`)
        loaded.root = value
      } else if (name === 'default') {
        throw new RuntimeError('DEFINITION_INVALID', `The default export of ${url.href} is no supervisor and no pool.`)
      }
    }
    if (!Object.values(exports).some((value) => isAgent(value) || isSupervisor(value))) {
      const advice = 'Make a supervisor or a pool its default export.'
      throw new RuntimeError('DEFINITION_INVALID', `${url.href} exports no agent and no tree. ${advice}`)
    }
  }
  return loaded
}

async function load(url: URL): Promise<Record<string, unknown>> {
  try {
    return (await import(url.href)) as Record<string, unknown> // a module namespace is a record of its exports
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new RuntimeError('MODULE_LOAD_FAILED', `Agent module ${url.href} could not be loaded: ${message}`, {
      cause: error,
    })
  }
}
