/**
 * `npm run desk:check -- --data DIR [--json]`: proves from the database that the desk lost nothing and doubled nothing.
 * The server may run or not. Exit code 1 with the rows that break a promise, 2 when the check itself could not be made.
 */
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { RuntimeError } from 'vivarium'
import { audit, type Finding, openRequests } from './audit.ts'
import { type Evidence, readEvidence } from './evidence.ts'
import { type InboxLine, parseInboxLine } from './inbox.ts'
import { type OutcomeRate, outcomeRate } from './outcome-rate.ts'
import { products, shippedInbox } from './shop.ts'

/** Below this share of right outcomes the desk does not do its job. */
const RATE_MIN = 0.9
/** Wrong outcomes that are printed; `--json` has all. */
const SHOWN_MAX = 20

const USAGE = `Usage: npm run desk:check -- [--data DIR] [--inbox FILE] [--json]

  --data DIR    folder the desk was started with, default .vivarium; DATABASE_URL is used when this is not given
  --inbox FILE  requests with their expected outcomes; default: the inbox the desk works through
  --json        the whole result as one JSON object`

type Report = {
  ok: boolean
  accepted: number
  answered: number
  open: number
  deadLetters: number
  orders: number
  rate: number | null
  findings: Finding[]
  wrong: OutcomeRate['wrong']
}

try {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      inbox: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) console.log(USAGE)
  else await main(values)
} catch (error) {
  const known = error instanceof RuntimeError ? `${error.code}: ${error.message}` : String(error)
  console.error(`The check could not be made. ${known}`)
  process.exit(2)
}

async function main(values: { data?: string; inbox?: string; json?: boolean }): Promise<void> {
  const databaseUrl = values.data === undefined ? process.env['DATABASE_URL'] : undefined
  const evidence = await readEvidence({
    ...(values.data === undefined ? {} : { data: values.data }),
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
  })
  const report = reportOf(evidence, await readLines(values.inbox ?? evidence.inbox))
  console.log(values.json === true ? JSON.stringify(report, null, 2) : written(report))
  process.exitCode = report.ok ? 0 : 1
}

function reportOf(evidence: Evidence, lines: readonly InboxLine[]): Report {
  const { accepted, letters, orders } = evidence
  const skip = openRequests(evidence)
  const { judged, right, wrong } = outcomeRate(lines, { accepted, letters, skip })
  const findings = audit(evidence, products)
  const rate = judged === 0 ? null : right / judged
  return {
    ok: findings.length === 0 && (rate === null || rate >= RATE_MIN),
    accepted: accepted.size,
    answered: Object.keys(letters).length,
    open: skip.size,
    deadLetters: evidence.deadLetters.length,
    orders: [...orders.values()].filter(({ archived, status }) => !archived && status !== 'none').length,
    rate,
    findings,
    wrong,
  }
}

/** Standard input is gone after it was read, so there is nothing to compare with. */
async function readLines(inbox: string | null): Promise<InboxLine[]> {
  if (inbox === '-') return []
  const text = await readFile(inbox ?? shippedInbox, 'utf8')
  return text.split('\n').flatMap((json) => {
    try {
      return json.trim() === '' ? [] : [parseInboxLine(json)]
    } catch {
      return [] // the desk refused this line as well, and said why
    }
  })
}

function written(report: Report): string {
  const { accepted, answered, open, deadLetters, orders, rate, findings, wrong } = report
  const share = rate === null ? 'none judged yet' : `${(rate * 100).toFixed(1)} %`
  const lines = [
    `${accepted} requests taken in, ${answered} answered, ${open} under way, ${deadLetters} dead letters`,
    `${orders} orders, right outcomes: ${share}` +
      (rate !== null && rate < RATE_MIN ? `, below ${RATE_MIN * 100} %` : ''),
    ...wrong
      .slice(0, SHOWN_MAX)
      .map((one) => `  ${one.request}: expected ${one.expected}; found ${one.found || 'nothing'}`),
    ...(wrong.length > SHOWN_MAX ? [`  and ${wrong.length - SHOWN_MAX} more (--json)`] : []),
    ...findings.map(({ rule, row, what }) => `BROKEN ${rule}: ${row} ${what}`),
    report.ok ? 'Nothing was lost and nothing doubled.' : `FAILED: ${findings.length} broken rows.`,
  ]
  return lines.join('\n')
}
