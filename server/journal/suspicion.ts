/**
 * Messages that are suspected of killing their nodes (PROTOCOL P2).
 *
 * - Everything in hand when a node dies is a suspect, and most of it is innocent. So from the second death on suspects
 *   run one at a time, each marked in the journal before its handler runs: who dies alone is to blame, everyone else
 *   comes to an end. After three deaths alone, five in all, a message is buried.
 * - A message with a row is counted in that row, by the claim. An accepted call has no row; its node's deaths are
 *   counted in the journal, and that is stored before the turn goes on.
 * - A drain is no death: a mark of a turn whose owner gave it up does not count.
 */
import type { Clock } from '../kernel/clock-port.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { SUSPECTED_POISON_RECOVERIES } from './dead-letter.ts'
import { storePart } from './kept-part.ts'
import { rowOf } from './message.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord } from './record.ts'
import type { Turn } from './turn.ts'

export const SUSPECTED_POISON = 'SuspectedPoison: its node died each time it was in hand'

/** Node deaths after which a message runs alone. */
const SUSPECT_RECOVERIES = 2
const ALONE_DEATHS_MAX = SUSPECTED_POISON_RECOVERIES - SUSPECT_RECOVERIES
/** Ms. Longer than a handler that kills needs, as a rule; a suspect may itself wait for the answer of the next one. */
const ALONE_MS = 5_000

export function isPoison({ open }: DurableRecord, envelope: Envelope): boolean {
  return open !== null && open.turn === envelope.messageId && open.alone >= ALONE_DEATHS_MAX
}

/** At activation. Resolves once what happened to the open turn is stored, where no row says it. */
export function weighRecovery(ports: DurablePorts, record: DurableRecord, died: boolean): Promise<void> | undefined {
  const { open } = record
  if (open === null) return undefined
  if (!died) {
    open.alone = Math.max(0, open.alone - 1)
    return undefined
  }
  if (rowOf(open.envelope) !== null) return undefined
  open.recoveries += 1
  return storePart(ports, record, {
    entries: [{ k: 'recovered', turn: open.turn, recoveries: open.recoveries }],
    turn: open.turn,
    lineage: open.envelope.lineage,
  })
}

/** It only waits: a turn that sleeps for a day must neither keep the next suspect waiting nor pay for the nodes that
 *  die meanwhile. One that kills when its wait is over finds it over when it is replayed, and is marked then. */
function cleared(turn: Turn): void {
  const { open } = turn
  if (open === null || turn.closed) return
  open.alone = Math.max(0, open.alone - 1)
  turn.append({ k: 'suspected', turn: turn.id, alone: open.alone })
}

/** The suspects of one node, one at a time. */
export class Suspects {
  readonly #clock: Clock
  #last: Promise<void> = Promise.resolve()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs `work` at once, or after the suspects before it where the message of the turn is one. */
  run(turn: Turn, work: () => void | Promise<void>): void | Promise<void> {
    const recoveries = rowOf(turn.envelope)?.recoveries ?? turn.open?.recoveries ?? 0
    if (recoveries < SUSPECT_RECOVERIES || turn.open?.marked === true) return work()
    return this.#alone(turn, work)
  }

  async #alone(turn: Turn, work: () => void | Promise<void>): Promise<void> {
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = before.then(() => promise)
    await before
    const timer = this.#clock.after(ALONE_MS, resolve)
    timer.keepAlive(false)
    turn.quiet = () => {
      turn.quiet = null
      cleared(turn)
      resolve()
    }
    try {
      turn.assertOpen()
      const open = turn.accept()
      open.alone += 1
      open.marked = true
      turn.append({ k: 'suspected', turn: turn.id, alone: open.alone })
      await turn.flushed()
      await work()
    } finally {
      timer.cancel()
      resolve()
    }
  }
}
