/**
 * What a journal row says: its entries, in the order in which things happened to the process.
 *
 * - T5: results stand in the order in which they were handed to user code; replay hands them over in that order.
 * - Entries are immutable once written; a later format gets a new number in the row (`format`), never a new meaning.
 */
import type { Divergence } from '../../shared/divergence.ts'
import type { ErrorData } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { decode, encodeCopied, type Value } from '../../shared/value.ts'
import type { ReplyAddress } from '../store/store.ts'
import type { Patch } from './patch.ts'
import type { TreeNote } from './tree-state.ts'

/** The journal's own outcome: of a step, a call, a turn. */
export type Outcome = { readonly ok: Value } | { readonly err: ErrorData }

/** What the code is given: a request of one shape is never answered with a result of another. */
export type Shape = 'result' | 'message' | 'sleep' | 'checkpoint' | 'scope'

/** A rejection and a cancellation are ordinary ends; what the turn did to state and outbox is dropped. */
export type EndKind = 'done' | 'rejected' | 'cancelled'

/** A message as an accepted turn remembers it: enough to begin the turn again without its row. */
export type Accepted = {
  readonly kind: 'call' | 'send' | 'timer' | 'exit' | 'down' | 'topic'
  readonly op: string
  readonly args: Value
  readonly from: ProcessId | null
  readonly at: number
  readonly cause: string | null
  readonly root: string | null
  readonly traceparent: string | null
  readonly actor: string | null
  readonly chain: readonly ProcessId[]
  /** `ord` of its mailbox row; null for a call that has none. */
  readonly ord: number | null
}

/** A message that a turn received: enough to give it again, and to answer it, without its row. */
export type TakenMessage = Accepted & { readonly id: string; readonly replyTo: ReplyAddress | null }

/** What a turn of a sandbox would have done to others (E9). */
export type Withheld = {
  readonly what: 'send' | 'publish' | 'spawn' | 'link' | 'unlink' | 'monitor' | 'register' | 'unregister' | 'subscribe'
  readonly target: string
  readonly op: string | null
  readonly args: Value
}

export type Entry =
  /** First entry of a process: the state its `state()` gave. */
  | { readonly k: 'init'; readonly value: Value }
  /** The turn is now the runtime's promise (T3). `at` is its `now`. */
  | {
      readonly k: 'accepted'
      readonly turn: string
      readonly branch: number
      readonly message: Accepted
      readonly at: number
    }
  | {
      readonly k: 'step'
      readonly turn: string
      readonly key: string
      readonly out: Outcome
      readonly attempts: number
      /** Who gave the result, in a sandbox (E10). */
      readonly by?: string
      /** Streams that the step closed: they end once this is stored. */
      readonly ends?: readonly string[]
      readonly at: number
    }
  /** A step with a total time or a token began; its time counts from `at`. */
  | {
      readonly k: 'opened'
      readonly turn: string
      readonly key: string
      readonly token: string | null
      readonly at: number
    }
  /** An attempt of a step failed and another one follows at `due`. `began`: the first one did, epoch ms. */
  | {
      readonly k: 'retry'
      readonly turn: string
      readonly key: string
      readonly attempt: number
      readonly began: number
      readonly due: number
      readonly err: ErrorData
      readonly progress?: Value
    }
  /** What a running attempt reported last. */
  | { readonly k: 'progress'; readonly turn: string; readonly key: string; readonly value: Value }
  /** The function of an external step is done: it does not run again, the outcome comes from outside. */
  | { readonly k: 'handed'; readonly turn: string; readonly key: string; readonly attempts: number }
  | {
      readonly k: 'called'
      readonly turn: string
      readonly key: string
      readonly target: ProcessId
      readonly op: string
      readonly deadline: number
      readonly at: number
    }
  | { readonly k: 'reply'; readonly turn: string; readonly key: string; readonly out: Outcome; readonly at: number }
  /** The nth send of the turn was refused because of something only the moment knew: a full mailbox (M6). */
  | { readonly k: 'refused'; readonly turn: string; readonly n: number; readonly error: ErrorData }
  /** The deadline of a request: a sleep, a receive, a call in memory. It outlives crashes (W1). */
  | { readonly k: 'due'; readonly turn: string; readonly key: string; readonly due: number; readonly at: number }
  /** A message was taken out of the mailbox; null when the time was over. */
  | {
      readonly k: 'received'
      readonly turn: string
      readonly key: string
      readonly message: TakenMessage | null
      readonly at: number
    }
  /** Somebody asked for the end of the turn (Y1). Of a message that had not begun: it was taken back. */
  | {
      readonly k: 'cancel'
      readonly turn: string
      readonly by: string | null
      readonly reason: string | null
      readonly at: number
    }
  /** A request ended by the cancellation; `shape` is that of what the code asked for (Y2). `scope`: by that of a
   *  section of the turn (Y8); `left`: because the code left that one. */
  | {
      readonly k: 'cancelled'
      readonly turn: string
      readonly key: string
      readonly shape: Shape
      readonly err: ErrorData
      readonly scope?: string
      readonly left?: true
      readonly at: number
    }
  /** An operation is started as a child of the turn (Y6); `of` is the key of its request, `in` are the sections that it
   *  was started in. */
  | {
      readonly k: 'child'
      readonly turn: string
      readonly process: ProcessId
      readonly of: string
      readonly policy: 'stop' | 'wait'
      readonly in?: readonly string[]
    }
  /** A compensation was registered; `of` is the key of its step (Y4). */
  | { readonly k: 'undo'; readonly turn: string; readonly of: string; readonly name: string }
  /** The turn goes no further: what `undo` names is run in reverse. Steps after it are those of the rollback. */
  | {
      readonly k: 'rollback'
      readonly turn: string
      readonly cause: Exclude<EndKind, 'done'> | 'failed'
      readonly err: ErrorData
      readonly undo: readonly string[]
      readonly at: number
    }
  /** Every compensation has its outcome. */
  | {
      readonly k: 'rolled-back'
      readonly turn: string
      readonly failed: readonly { readonly name: string; readonly err: ErrorData }[]
      readonly at: number
    }
  /** A sleep is over. */
  | { readonly k: 'woke'; readonly turn: string; readonly key: string; readonly at: number }
  /** State so far; entries of the turn before it are never replayed again (T2). */
  | {
      readonly k: 'checkpoint'
      readonly turn: string
      readonly key: string
      readonly patches: readonly Patch[]
      readonly sent: number
      /** Of the callback, where it is the checkpoint of a transaction. */
      readonly result?: Value
      readonly withheld?: readonly Withheld[]
      readonly at: number
    }
  | {
      readonly k: 'end'
      readonly turn: string
      readonly op: string
      readonly from: ProcessId | null
      readonly patches: readonly Patch[]
      readonly how: EndKind
      readonly sent: number
      readonly withheld?: readonly Withheld[]
    }
  /** An attempt crashed; `decision` is what became of the message. */
  | {
      readonly k: 'failed'
      readonly turn: string | null
      readonly attempt: number
      readonly failure: string
      readonly decision: 'retry' | 'dead' | 'halted'
    }
  /** `base`: that of an open turn, upgraded, where a checkpoint made it differ from the state. */
  | {
      readonly k: 'upgrade'
      readonly from: number
      readonly to: number
      readonly patches: readonly Patch[]
      readonly base?: Value
    }
  | { readonly k: 'exit'; readonly incarnation: number; readonly reason: Value }
  /** `where`: the whole comparison; absent in rows of older releases. */
  | {
      readonly k: 'diverged'
      readonly turn: string
      readonly expected: string
      readonly found: string
      readonly where?: Divergence
    }
  /** An operator replaced the state: `to` is the version it was taken from, null for a value of his own (E2, E3). */
  | {
      readonly k: 'edited'
      readonly to: number | null
      /** Which a rewind allocated; absent for an edit, and in rows of older releases. */
      readonly branch?: number
      readonly patches: readonly Patch[]
      readonly by: string
      readonly why: string | null
    }
  /** An operator lets the turn run again: what comes after its first `kept` results does not count any more (E5). */
  | {
      readonly k: 'retried'
      readonly turn: string
      readonly branch: number
      readonly kept: number
      readonly by: string
      readonly why: string | null
    }
  /** An operator made this process as a sandbox copy of `of` (E8): of its state as of `version`, null for one of his
   *  own; `turn` is the open turn that came along. */
  | {
      readonly k: 'forked'
      readonly of: ProcessId
      readonly version: number | null
      readonly turn: string | null
      readonly by: string
      readonly why: string | null
    }
  /** The turn goes on with the code behind this patch (V6). */
  | { readonly k: 'patched'; readonly turn: string; readonly id: string }
  /** The node died with the accepted turn in hand; its message has no row in which this could be counted (P2). */
  | { readonly k: 'recovered'; readonly turn: string; readonly recoveries: number }
  /** From here on the turn runs with no other suspect beside it, for the nth time (P2). */
  | { readonly k: 'suspected'; readonly turn: string; readonly alone: number }
  /** Changes of the tree below a supervisor (V3, F4); `untold` of them are in the patches alone. */
  | {
      readonly k: 'tree'
      readonly notes: readonly TreeNote[]
      readonly untold: number
      readonly patches: readonly Patch[]
    }

/** What the code of a turn was handed. Whatever stands before it is part of what that code saw. */
export type ResultEntry = Extract<Entry, { k: 'step' | 'reply' | 'received' | 'woke' | 'checkpoint' | 'cancelled' }>

const RESULTS: ReadonlySet<Entry['k']> = new Set([
  ...(['step', 'reply', 'received', 'woke', 'checkpoint', 'cancelled'] as const),
])

export function isResult(entry: Entry): entry is ResultEntry {
  const { k } = entry
  return RESULTS.has(k)
}

export function encodeEntries(entries: readonly Entry[]): string {
  return encodeCopied(entries as unknown as Value) // entries are built of values and locked copies only
}

export function decodeEntries(payload: string): Entry[] {
  return decode(payload) as unknown as Entry[] // written by encodeEntries of this format
}
