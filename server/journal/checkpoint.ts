/**
 * `ctx.checkpoint`: state and outbox so far become one row, and the turn goes on from there (PROTOCOL T2).
 *
 * - The draft ends where the verb is called, not where the row leaves: later changes are of the next part.
 * - A replay goes on from what was stored then; nothing of it happens again.
 */
import type { Value } from '../../shared/value.ts'
import type { Entry } from './entry.ts'
import { leaving, outboxStored, rearm } from './finish.ts'
import { emptyOutbox, type Outbox } from './outbox.ts'
import { applyPatches } from './patch.ts'
import type { Part } from './record.ts'
import { type Settlement, settleTaken } from './taken.ts'
import type { Turn } from './turn.ts'

type Checkpoint = Extract<Entry, { k: 'checkpoint' }>
/** What leaves with the row. */
type Leaving = Pick<Checkpoint, 'key' | 'patches'> & { readonly outbox: Outbox; readonly state: Value }

export async function checkpointInTurn(turn: Turn): Promise<void> {
  turn.assertOpen()
  const key = turn.key('checkpoint')
  const recorded = turn.checkpointed(key)
  const { outbox } = turn
  const patches = recorded?.patches ?? turn.takePatches()
  if (recorded !== undefined) goOn(turn, recorded)
  else {
    const { links } = outbox.part
    if (links !== undefined) turn.record.tie().ended(links)
    begin(turn)
    turn.rebase(applyPatches(turn.base, patches))
  }
  const state = turn.base
  await turn.request(key, () => live(turn, { key, patches, outbox, state }), 'checkpoint', true)
}

/** In a replay: from what was stored then. */
export function goOn(turn: Turn, { key, patches }: Checkpoint): void {
  begin(turn)
  // The last one left the stored state, which an upgrade may have changed since (V2).
  turn.rebase(turn.isLastCheckpoint(key) ? turn.record.live : applyPatches(turn.base, patches))
}

function begin(turn: Turn): void {
  turn.outbox = emptyOutbox()
  turn.trapBefore = null
}

async function live(turn: Turn, { key, patches, outbox, state }: Leaving): Promise<null> {
  const { record, answered } = turn
  const { messages, timers, cancelTimers, part, answers } = outbox
  const taken = settleTaken(record, turn.accept(), { answers, answered, how: 'checkpoint' })
  outbox.after.push(...taken.release)
  const extra = taken.consumed.length + taken.requests.length === 0 ? {} : pick(taken)
  turn.append(
    { k: 'checkpoint', turn: turn.id, key, patches, ...leaving(outbox), at: turn.stamp() },
    { state, messages: [...messages, ...taken.messages], timers, cancelTimers, ...part, ...extra },
    (at) => outboxStored(turn, outbox, at),
  )
  rearm(record, outbox)
  const release = turn.hold()
  try {
    await turn.flushed()
  } finally {
    release()
  }
  return null
}

function pick({ consumed, requests }: Settlement): Pick<Part, 'consumed' | 'requests'> {
  return { consumed, ...(requests.length === 0 ? {} : { requests }) }
}
