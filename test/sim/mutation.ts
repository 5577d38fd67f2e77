/**
 * Bugs planted around the real store, to see that the simulator finds them. The product has no switch for any of this:
 * they stand behind the wire (in the database) or before it (in the driver).
 */
import { type Commit, type CommitOutcome, type Store, StoreFailure } from '../../server/store/store.ts'
import type { Site } from './machine.ts'

export type Mutation = {
  readonly name: string
  /** In the database. */
  behind?(store: Store, site: Site): Store
  /** In the driver of the node. */
  before?(store: Store, site: Site): Store
}

/** Ms by which a commit is answered before it is carried out. */
const EARLY_MS = 25

/** Consumed messages are deleted by a statement of their own, after the commit: where that is lost they come again. */
const doubleDelivery: Mutation = {
  name: 'double delivery',
  before: (store, { watch }) => ({
    ...store,
    commit: async (node, batch) => {
      const outcomes = await store.commit(
        node,
        batch.map(({ consumed: _consumed, ...row }) => row),
      )
      batch.forEach((row, i) => {
        if (outcomes[i]?.kind !== 'committed') return
        for (const { target, ord } of row.consumed ?? []) watch.db.remove(node.namespace, target, ord)
      })
      return outcomes
    },
  }),
}

/** A commit whose answer is lost is taken for one that was refused. */
const lostAck: Mutation = {
  name: 'lost ack',
  before: (store) => ({
    ...store,
    commit: (node, batch) =>
      store.commit(node, batch).catch((error: unknown) => {
        if (!(error instanceof StoreFailure) || error.kind !== 'unavailable') throw error
        throw new StoreFailure('rejected', 'The answer was lost.', { cause: error })
      }),
  }),
}

/** Nobody compares claim, epoch and sequence. */
const staleEpoch: Mutation = {
  name: 'stale epoch accepted',
  behind: (store, { watch: { db } }) => ({
    ...store,
    commit: (node, batch) => {
      const current = db.nodes.get(node.id)
      const forged = batch.map((row): Commit => {
        const head = db.heads.get(row.process)
        return head === undefined ? row : { ...row, seq: head.seq + 1, claim: head.claim }
      })
      return store.commit({ ...node, epoch: current?.epoch ?? node.epoch }, forged)
    },
  }),
}

/** The database says that a commit is stored and stores it some time later. */
const replyBeforeCommit: Mutation = {
  name: 'reply before commit',
  behind: (store, { schedule, database, watch }) => ({
    ...store,
    commit: async (node, batch) => {
      schedule.at(database, EARLY_MS, 'late commit', () => {
        void store.commit(node, batch).then(() => watch.committed(node, batch))
      })
      return batch.map((): CommitOutcome => ({ kind: 'committed', at: watch.db.clock.now(), ords: [] }))
    },
  }),
}

export const MUTATIONS: readonly Mutation[] = [doubleDelivery, lostAck, staleEpoch, replyBeforeCommit]
