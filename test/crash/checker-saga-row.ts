/**
 * What rows say of sagas at any instant, also right after a kill: a cancellation that was answered is there until it is
 * over, a parent leaves no child behind, what a turn heard and took back is recorded once and in its order.
 */
import type { SagaFacts } from './saga-fact.ts'
import type { SagaEntry, SagaRow, SagaRows } from './saga-row.ts'

export function checkSagaRows(rows: SagaRows, facts: Pick<SagaFacts, 'taken'>): string[] {
  return [
    ...checkTaken(rows, facts),
    ...checkChildren(rows),
    ...checkReplies(rows),
    ...checkHeard(rows),
    ...checkTurns(rows.journal),
  ]
}

/** X28: it waits in the mailbox, or is an entry, or the operation is over. */
function checkTaken({ requests, cancels, journal }: SagaRows, { taken }: Pick<SagaFacts, 'taken'>): string[] {
  const asked = new Set(cancels.map(({ op }) => op))
  for (const { entries } of journal) for (const { k, turn } of entries) if (k === 'cancel') asked.add(turn ?? '')
  return [...taken].flatMap((id) => {
    const request = requests.find(({ key }) => key === id)
    if (request === undefined) return [`the cancellation of ${id} was answered and there is no ${id}`]
    return request.outcome !== null || asked.has(request.message) ? [] : [`the cancellation of ${id} is lost`]
  })
}

/** X32: no instant at which a turn is over, its child is not, and nobody has told it to end. */
function checkChildren({ requests, cancels, journal }: SagaRows): string[] {
  const outcomes = new Map(requests.map(({ key, outcome }) => [key, outcome]))
  const asked = new Set(cancels.map(({ target }) => target))
  for (const { id, entries } of journal) if (entries.some(({ k }) => k === 'cancel')) asked.add(id)
  return requests.flatMap(({ scope, outcome }) => {
    const [, tour] = /^guide\/(.+)-stop$/.exec(scope) ?? []
    if (tour === undefined || outcome !== null || asked.has(scope)) return []
    return outcomes.get(tour) == null ? [] : [`${scope} was left behind by its parent, which is over`]
  })
}

/** X33: nobody is told twice. */
function checkReplies({ replies }: SagaRows): string[] {
  const seen = new Set<string>()
  return replies.flatMap(({ target, op }) => {
    const what = `${target} ${op}`
    return seen.size < seen.add(what).size ? [] : [`${target} is told twice of ${op}`]
  })
}

/** X33: what a turn has as the result of another is what is kept of that one. */
function checkHeard({ requests, journal }: SagaRows): string[] {
  const kept = new Map(requests.map(({ scope, outcome, value }) => [scope, outcome === 'done' ? value : outcome]))
  return journal.flatMap(({ id, entries }) =>
    entries.flatMap(({ k, key = '', out }) => {
      const [, scope = ''] = /^result:(guide\/\S+)/.exec(key) ?? []
      if (k !== 'reply' || scope === '') return []
      const heard = out?.err === undefined ? out?.ok : out.err.code
      return heard === kept.get(scope) ? [] : [`${id} heard ${heard} of ${scope}, which ended as ${kept.get(scope)}`]
    }),
  )
}

type Turn = {
  at: string
  asked: number
  /** Rows in which it heard of its cancellation. */
  heard: Set<string>
  keys: Set<string>
  /** What it owes, last first, once it rolls back. */
  undo: string[] | null
  over: number
  how: string | null
}

function checkTurns(journal: readonly SagaRow[]): string[] {
  const turns = new Map<string, Turn>()
  const found: string[] = []
  for (const { id, seq, entries } of journal) {
    for (const entry of entries) {
      if (entry.turn == null) continue
      const fresh = {
        at: id,
        asked: 0,
        heard: new Set<string>(),
        keys: new Set<string>(),
        undo: null,
        over: 0,
        how: null,
      }
      const turn = turns.get(entry.turn) ?? fresh
      turns.set(entry.turn, turn)
      found.push(...note(turn, entry, seq).map((what) => `turn ${entry.turn} of ${id} ${what} (row ${seq})`))
    }
  }
  for (const [name, { at, asked, heard, how }] of turns) {
    if (asked > 1) found.push(`turn ${name} of ${at} was asked to end ${asked} times`)
    if (heard.size > 1) found.push(`turn ${name} of ${at} heard of its cancellation in ${heard.size} rows`)
    if (asked === 0 && (heard.size > 0 || how === 'cancelled'))
      found.push(`turn ${name} of ${at} heard what nobody asked`)
  }
  return found
}

/** X28, X29, X33, entry by entry. */
function note(turn: Turn, { k, key = '', how, undo = [] }: SagaEntry, seq: string): string[] {
  if (k === 'cancel') turn.asked += 1
  if (k === 'cancelled') turn.heard.add(seq)
  if (k === 'rollback') {
    if (turn.undo !== null) return ['rolls back twice']
    turn.undo = [...undo].reverse()
  }
  if (k === 'rolled-back') {
    turn.over += 1
    if (turn.undo === null || turn.undo.length > 0) return [`is rolled back and owes ${turn.undo?.join(', ')}`]
    if (turn.over > 1) return ['is rolled back twice']
  }
  if (k === 'end') {
    turn.how = how ?? null
    if (how === 'done' && turn.undo !== null) return ['rolls back and is done']
  }
  if (k !== 'step' && k !== 'reply' && k !== 'woke' && k !== 'cancelled') return []
  const twice = turn.keys.has(key) ? [`has ${key} twice`] : []
  turn.keys.add(key)
  if (turn.undo === null) return twice
  const next = turn.undo.shift()
  return next === key ? twice : [...twice, `has ${key} where it takes back ${next ?? 'nothing more'}`]
}
