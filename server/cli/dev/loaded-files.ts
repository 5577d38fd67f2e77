/**
 * Preloaded (`--import`) in every thread of a generation: says which files its modules are in, also those of threads
 * that compute, of a graph that does not load, and of a file that is missing. A change of one of them is waited for.
 *
 * - Packages and Vivarium itself are not among them.
 */
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { BroadcastChannel, isMainThread } from 'node:worker_threads'
import { moduleUrl } from '../../paths.ts'
import type { FromGeneration } from './generation.ts'

/** From the other threads to the main one, which has the way out; messages are paths. */
export const LOADED_CHANNEL = 'vivarium.loaded'

const OWN = ['../../', '../../../shared/'].map((folder) => new URL(folder, import.meta.url).href)

const channel = new BroadcastChannel(LOADED_CHANNEL)
channel.unref()

function note(url: string): void {
  if (!url.startsWith('file:') || url.includes('/node_modules/') || OWN.some((own) => url.startsWith(own))) return
  const path = fileURLToPath(`file://${new URL(url).pathname}`)
  if (!isMainThread) return channel.postMessage(path)
  const message: FromGeneration = { kind: 'loaded', path }
  if (process.connected) process.send?.(message, () => {})
}

/** Programs that user code forks are started with the same preloads, and have a protocol of their own. */
const isGeneration = !isMainThread || process.argv[1] === fileURLToPath(moduleUrl('cli/dev/generation-main'))

if (isGeneration) {
  registerHooks({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context)
      } catch (error) {
        if (/^\.{0,2}\/|^file:/.test(specifier)) note(URL.parse(specifier, context.parentURL)?.href ?? '')
        throw error
      }
    },
    load(url, context, next) {
      note(url)
      return next(url, context)
    },
  })
}
