/**
 * Copies against their originals (X36): nothing of the original is changed, nothing gets out of a copy, the answer that
 * counted is the one it has, and a discarded one left nothing.
 */
import type { Case, CaseFile } from './case.ts'
import { REAL, type Treatment } from './hospital.ts'
import type { HospitalView } from './hospital-view.ts'
import type { Rows } from './rows.ts'

export function checkSandboxes({ cases }: CaseFile, view: HospitalView, treatments: readonly Treatment[]): string[] {
  const found: string[] = []
  for (const { process, step } of treatments)
    if (process.endsWith('-f')) found.push(`the copy ${process} did ${step} outside`)
  for (const one of cases.values()) {
    if (one.of !== 'fork' && one.of !== 'keep') continue
    found.push(...checkOriginal(one, view), ...checkCopy(one, view))
  }
  for (const [id, of] of view.copies)
    if (id.endsWith('-f') !== (of !== null))
      found.push(`${id} is stored as ${of === null ? 'no copy' : `one of ${of}`}`)
  return found
}

function checkOriginal({ id }: Case, { patients, journals }: HospitalView): string[] {
  const process = `patient/${id}`
  const found: string[] = []
  const state = patients.get(process)
  if (state !== undefined && state.done[`treat ${id}`] === 1 && state.said !== REAL)
    found.push(`the original ${process} says "${state.said}"`)
  for (const { k, by } of journals.get(process) ?? [])
    if (k === 'forked' || k === 'retried' || by !== undefined) found.push(`the original ${process} has a "${k}" entry`)
  return found
}

function checkCopy({ id, of, acts }: Case, { patients, journals, copies }: HospitalView): string[] {
  const copy = `patient/${id}-f`
  const act = acts.find(({ verb }) => verb === 'fork')
  if (!copies.has(copy)) {
    const lost = act?.answer === 'done' && !acts.some(({ verb }) => verb === 'discard')
    return lost ? [`${copy} was made and is not there`] : []
  }
  if (act === undefined || act.answer === 'refused') return [`${copy} is there and was not made`]
  if (of === 'fork')
    return acts.some(({ verb, answer }) => verb === 'discard' && answer === 'done')
      ? [`${copy} was discarded and is there`]
      : [`${copy} was to be discarded and is there`]
  const found: string[] = []
  if (copies.get(copy) !== `patient/${id}`) found.push(`${copy} is a copy of ${copies.get(copy)}`)
  const entries = (journals.get(copy) ?? []).filter(({ k, by }) => k === 'step' && by !== undefined)
  const last = entries.at(-1)?.out?.ok
  const keys = new Set(entries.map(({ key }) => key))
  if (keys.size !== entries.length) found.push(`a request of ${copy} was answered twice`)
  const counted = acts.filter(({ verb, answer }) => verb.startsWith('answer') && answer === 'done')
  const stored = new Set(entries.map(({ out }) => out?.ok))
  for (const { value } of counted)
    if (!stored.has(value)) found.push(`"${value}" was told to count for ${copy} and does not`)
  const state = patients.get(copy)
  if (state?.done[`treat ${id}`] !== 1) found.push(`${copy} did not come to its end`)
  else if (state.said !== last) found.push(`${copy} says "${state.said}" and was answered "${String(last)}"`)
  return found
}

/** E12: all tables that could know of one. */
export async function checkDiscarded({ cases }: CaseFile, { sql, schema }: Rows): Promise<string[]> {
  const found: string[] = []
  const ids = [...cases.values()].flatMap(({ id, acts }) =>
    acts.some(({ verb, answer }) => verb === 'discard' && answer === 'done') ? [`patient/${id}-f`] : [],
  )
  if (ids.length === 0) return found
  const places = [
    ['processes', 'id'],
    ['mailbox', 'target'],
    ['requests', 'scope'],
    ['links', 'process'],
    ['links', 'peer'],
    ['names', 'process'],
    ['failures', 'process'],
    ['dead_letters', 'process'],
    ['timers', 'target'],
  ] as const
  for (const [table, column] of places) {
    const rows = await sql<{ id: string }[]>`
      select ${sql(column)} as id from ${sql(schema)}.${sql(table)} where ${sql(column)} in ${sql(ids)}`
    for (const { id } of rows) found.push(`${id} was discarded and has a row in ${table}`)
  }
  return found
}
