/**
 * Errors as answers: problem documents (docs/http.md) with the headers their status asks for.
 *
 * - H7: what is not ours leaves as INTERNAL without its text. Its cause is reported once, under a trace id that the
 *   answer carries too, so that who got the answer and who reads the log mean the same event.
 */
import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { CODES, RuntimeError } from '../../shared/error.ts'
import type { Problem } from '../../shared/frame.ts'
import { problemOf } from '../../shared/problem.ts'

/** Its answers say in `allow` which methods there are. */
const METHOD_STATUS = 405

/** Learns of errors that are bugs: their text never leaves by HTTP. */
export type Report = (error: unknown, trace: string) => void

export function answerProblem(error: unknown, report: Report): Response {
  const problem = problemOf(error)
  if (!(error instanceof RuntimeError) || error.code === 'INTERNAL') {
    problem.trace = randomUUID()
    problem.detail = `${problem.detail} It is logged under the trace ${problem.trace}.`
    report(error, problem.trace)
  }
  return documentOf(problem, error)
}

/** A refusal of ours with headers that programs go by. */
export function answerRefusal(error: RuntimeError, headers: Readonly<Record<string, string>>): Response {
  return documentOf(problemOf(error), error, headers)
}

function documentOf(problem: Problem, error: unknown, more: Readonly<Record<string, string>> = {}): Response {
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }
  if (problem.code === 'UNAUTHORIZED') headers['www-authenticate'] = 'Bearer realm="vivarium"'
  if (problem.code === 'UPGRADE_REQUIRED') headers['upgrade'] = 'websocket'
  const allow = error instanceof RuntimeError ? error.detail['allow'] : undefined
  if (problem.status === METHOD_STATUS && typeof allow === 'string') headers['allow'] = allow
  return new Response(JSON.stringify(problem), { status: problem.status, headers: { ...more, ...headers } })
}

/** Where the causes go when the host takes none: standard error, one entry each. */
export function reportToStderr(error: unknown, trace: string): void {
  process.stderr.write(`vivarium: ${CODES.INTERNAL.hint} trace ${trace}\n${inspect(error)}\n`)
}
