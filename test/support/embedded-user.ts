/** Starts embedded-child.ts and speaks with it. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { ChildAnswer, ChildWord } from './embedded-child.ts'

export type EmbeddedUser = {
  readonly up: Extract<ChildAnswer, { kind: 'up' }>
  ask(word: ChildWord): Promise<ChildAnswer>
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  exited(): Promise<void>
}

const CHILD = fileURLToPath(new URL('./embedded-child.ts', import.meta.url))

/** Runs a start that is killed once the server runs, before anything else; the hit is written to `log`. */
export async function killedStart(dataDir: string, log: string): Promise<void> {
  const child = fork(CHILD, [dataDir, log], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await once(child, 'exit')
}

export async function startUser(dataDir: string): Promise<EmbeddedUser> {
  const child = fork(CHILD, [dataDir], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const gone = once(child, 'exit')
  const up = await nextAnswer(child)
  if (up.kind !== 'up') throw new Error(`The child did not start: ${JSON.stringify(up)}`)
  return {
    up,
    ask(word) {
      const answer = nextAnswer(child)
      child.send(word)
      return answer
    },
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
    async exited() {
      await gone
    },
  }
}

async function nextAnswer(child: ChildProcess): Promise<ChildAnswer> {
  const answer = once(child, 'message')
  const died = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`The child ended with ${String(code ?? signal)} before it answered.`)
  })
  // Only embedded-child.ts writes to this channel.
  const [message] = (await Promise.race([answer, died])) as [ChildAnswer]
  return message
}
