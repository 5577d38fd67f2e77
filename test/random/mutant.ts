/**
 * Runtimes with a planted mistake, so that the oracle can be seen to fail: each is a lie of the store, told through the
 * seam that tests have for one. The product has no switch for it.
 */
import type { RuntimeOptions } from 'vivarium'
import { NO_CRASH } from '../../server/crash-point.ts'
import { openBackend } from '../../server/host/postgres-backend.ts'
import { decodeEntries, type Entry, encodeEntries } from '../../server/journal/entry.ts'
import type { Commit, CommitOutcome, Loaded, Store } from '../../server/store/store.ts'

export const MUTANTS = ['forgets-result', 'doubles-send'] as const
export type Mutant = (typeof MUTANTS)[number]

export function isMutant(name: string): name is Mutant {
  return (MUTANTS as readonly string[]).includes(name)
}

/** The database of the options, behind a store that lies. */
export function mutantBackend(
  mutant: Mutant,
  options: Pick<RuntimeOptions, 'data' | 'schema'>,
): NonNullable<RuntimeOptions['backend']> {
  return async () => {
    const backend = await openBackend(options, null, NO_CRASH)
    return { ...backend, handle: { ...backend.handle, store: lying(backend.handle.store, mutant) } }
  }
}

function lying(store: Store, mutant: Mutant): Store {
  switch (mutant) {
    case 'forgets-result':
      return { ...store, load: async (node, pids) => (await store.load(node, pids)).map(withOtherResults) }
    case 'doubles-send':
      return { ...store, commit: async (node, batch) => single(batch, await store.commit(node, batch.map(doubled))) }
    default:
      return mutant satisfies never
  }
}

/** A replay is given other values than those that were recorded, as if steps ran again. */
function withOtherResults(loaded: Loaded): Loaded {
  const journal = loaded.journal.map((row) => ({
    ...row,
    payload: encodeEntries(decodeEntries(row.payload).map(withOtherResult)),
  }))
  return { ...loaded, journal }
}

function withOtherResult(entry: Entry): Entry {
  if (entry.k !== 'step' || !('ok' in entry.out) || typeof entry.out.ok !== 'string') return entry
  return { ...entry, out: { ok: entry.out.ok.replace(/#.*$/, '#forgotten') } }
}

/** Every send leaves twice. */
function doubled(commit: Commit): Commit {
  const { messages = [] } = commit
  const twins = messages
    .filter(({ kind }) => kind === 'send')
    .map((message) => ({ ...message, id: `${message.id}-twin` }))
  return twins.length === 0 ? commit : { ...commit, messages: [...messages, ...twins] }
}

/** The committer knows of the originals only. */
function single(batch: readonly Commit[], outcomes: readonly CommitOutcome[]): CommitOutcome[] {
  return outcomes.map((outcome, i) => {
    if (outcome.kind === 'refused') return outcome
    return { ...outcome, ords: outcome.ords.slice(0, batch[i]?.messages?.length ?? 0) }
  })
}
