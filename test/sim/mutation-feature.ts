/** Planted bugs of single features: what the checkers of sagas, ties, names, streams and children are there to find. */
import type { Commit, NewMessage, Store } from '../../server/store/store.ts'
import type { Mutation } from './mutation.ts'

/** Whoever gives an outcome to an external step is told that it counts. */
const rivalOutcomes: Mutation = {
  name: 'rivals both told that they count',
  before: (store) => ({
    ...store,
    request: async (node, wanted) => {
      const answer = await store.request(node, wanted)
      return wanted.key.startsWith('step:') ? { ...answer, created: true } : answer
    },
  }),
}

/** A cancellation is acknowledged and not stored. */
const lostCancel: Mutation = {
  name: 'lost cancellation',
  before: (store) => ({
    ...store,
    enqueue: async (node, messages) => {
      const kept = messages.filter(({ kind }) => kind !== 'cancel')
      return kept.length === messages.length ? store.enqueue(node, messages) : store.enqueue(node, kept)
    },
  }),
}

/** Children go on when the turn that started them ends. */
const orphans: Mutation = {
  name: 'children outlive their parent',
  before: committing((row) => without(row, ({ kind }) => kind === 'cancel')),
}

/** A compensation has run, and nothing says so. */
const forgottenUndo: Mutation = {
  name: 'compensation not recorded',
  before: committing((row) => {
    const entries = JSON.parse(row.payload) as { k: string; key?: string }[]
    const kept = entries.filter(({ k, key }) => k !== 'step' || key?.startsWith('$rollback:') !== true)
    return kept.length === entries.length ? row : { ...row, payload: JSON.stringify(kept) }
  }),
}

/** Who watches a process is told twice of its end. */
const twiceDown: Mutation = {
  name: 'an end told twice',
  behind: (store, { watch: { db } }) => ({
    ...store,
    commit: async (node, batch) => {
      const last = db.lastOrd
      const outcomes = await store.commit(node, batch)
      for (const box of [...db.mailbox.values()]) {
        for (const { ord: _ord, ...row } of [...box.values()].filter(
          ({ ord, kind }) => ord > last && kind === 'down',
        )) {
          db.deliver(node.namespace, { ...row, id: `${row.id}-twin` })
        }
      }
      return outcomes
    },
  }),
}

/** Nobody is told of an end. */
const silentEnd: Mutation = {
  name: 'an end told to nobody',
  behind: (store, { watch: { db } }) => ({
    ...store,
    commit: async (node, batch) => {
      const last = db.lastOrd
      const outcomes = await store.commit(node, batch)
      for (const box of [...db.mailbox.values()]) {
        for (const { ord, kind, target } of [...box.values()]) {
          if (ord > last && (kind === 'down' || kind === 'exit')) db.remove(node.namespace, target, ord)
        }
      }
      return outcomes
    },
  }),
}

/** A name that somebody has is given to whoever asks. */
const twoHolders: Mutation = {
  name: 'a name with two holders',
  behind: (store, { watch: { db } }) => ({
    ...store,
    whereis: async () => null,
    commit: (node, batch) => {
      for (const { names } of batch) {
        for (const { kind, name } of names ?? [])
          if (kind === 'register') db.names.delete(`${node.namespace}\u0000${name}`)
      }
      return store.commit(node, batch)
    },
  }),
}

/** What a failed attempt wrote is not voided. */
const lostReset: Mutation = {
  name: 'chunks of a failed attempt stay',
  before: (store) => ({
    ...store,
    appendStreams: (node, batch) => {
      const kept = batch.map((one) => ({ ...one, records: one.records.map((each) => ({ ...each, reset: false })) }))
      return store.appendStreams(node, kept)
    },
  }),
}

/** A child is spawned by a turn that is stored, and is not there. */
const stillborn: Mutation = {
  name: 'a spawned child that is forgotten',
  before: committing(({ spawns: _spawns, ...row }) => row),
}

function committing(change: (row: Commit) => Commit): NonNullable<Mutation['before']> {
  return (store): Store => ({ ...store, commit: (node, batch) => store.commit(node, batch.map(change)) })
}

/** The committer counts on a number for each message: what is left out is sent to nobody. */
function without(row: Commit, isLost: (message: NewMessage) => boolean): Commit {
  if (row.messages?.some(isLost) !== true) return row
  return { ...row, messages: row.messages.map((one) => (isLost(one) ? { ...one, op: 'nobody' } : one)) }
}

export const FEATURE_MUTATIONS: readonly Mutation[] = [
  ...[rivalOutcomes, lostCancel, forgottenUndo, twiceDown, silentEnd, twoHolders, lostReset],
]

/** Found as well, after some dozens of seeds: too dear for every test run. */
export const RARE_MUTATIONS: readonly Mutation[] = [orphans, stillborn]
