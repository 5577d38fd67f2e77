/**
 * `--inbox -`: requests from standard input, one JSON line each, handed to the desk at its pace. The desk answers after
 * its commit, so a line that was accepted is safe; feeding the same lines again skips those.
 */
import { createInterface } from 'node:readline'
import type { Runtime } from 'vivarium'
import { desk } from './desk.ts'
import { parseInboxLine } from './inbox.ts'
import { reasonOf } from './inbox-file.ts'

export async function acceptStandardInput(runtime: Runtime, ratePerSecond: number, signal: AbortSignal): Promise<void> {
  const begun = performance.now()
  let line = 0
  let accepted = 0
  let repeated = 0
  const lines = createInterface({ input: process.stdin, signal })
  for await (const json of lines) {
    line += 1
    if (json.trim() === '') continue
    try {
      const { n, customer, text } = parseInboxLine(json)
      const fresh = await runtime.ref(desk, 'main').accept({ n, customer, text })
      if (fresh) accepted += 1
      else repeated += 1
    } catch (error) {
      if (signal.aborted) return
      console.error(`Line ${line} is no request: ${reasonOf(error)}`)
    }
    const ahead = (accepted / ratePerSecond) * 1_000 - (performance.now() - begun)
    if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
  }
  console.log(`Standard input ended: ${accepted} requests taken in, ${repeated} repeated lines skipped.`)
}
