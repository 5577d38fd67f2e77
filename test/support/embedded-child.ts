/**
 * A runtime's use of the embedded server in a process of its own, driven over IPC: sends its start, answers each word
 * with one message. Run by embedded-user.ts.
 */
import { ArmedCrashPoint, NO_CRASH } from '../../server/crash-point.ts'
import { startEmbedded } from '../../server/store/embedded/embedded.ts'

export type ChildWord = 'release' | 'ensure' | 'await-down'
export type ChildAnswer =
  | { readonly kind: 'up'; readonly host: string; readonly password: string }
  | { readonly kind: 'released'; readonly outcome: 'stopped' | 'left-running' }
  | { readonly kind: 'ensured'; readonly outcome: 'running' | 'restarted' }
  | { readonly kind: 'down' }
  | { readonly kind: 'failed'; readonly message: string }

const say = (answer: ChildAnswer) => process.send?.(answer)

try {
  const [, , dataDir = '', crashLog] = process.argv
  const crash = crashLog === undefined ? NO_CRASH : new ArmedCrashPoint('embedded:started', 1, crashLog)
  const server = await startEmbedded({ dataDir, crash })
  const down = Promise.withResolvers<void>()
  server.onDown(down.resolve)
  process.on('message', (word: ChildWord) => {
    void answer(word).then(say, (error: unknown) => say({ kind: 'failed', message: String(error) }))
  })
  say({ kind: 'up', host: server.connection.host, password: server.connection.password })

  async function answer(word: ChildWord): Promise<ChildAnswer> {
    if (word === 'await-down') return down.promise.then(() => ({ kind: 'down' }))
    if (word === 'ensure') return { kind: 'ensured', outcome: await server.ensureRunning() }
    const outcome = await server.release()
    setImmediate(() => process.disconnect?.())
    return { kind: 'released', outcome }
  }
} catch (error) {
  say({ kind: 'failed', message: String(error) })
  process.disconnect?.()
}
