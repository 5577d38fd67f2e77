/**
 * One side of a comparison, the same three verbs for everybody: Vivarium and the peers are measured by one program
 * (measure.ts), each in a process of its own that is started for one round and ended after it.
 *
 * Invariant: `run` resolves when the caller has the answer of a run whose steps and end are durable.
 */
export type Side = {
  /** One run of `steps` steps that do nothing, each begun after the one before it is recorded. `lane` is its caller. */
  run(steps: number, lane: number): PromiseLike<unknown>
  /** Steps that the store of this side holds, counted in the store. */
  recorded(): Promise<number>
  /** Ends everything this side started and drops what it stored. */
  close(): Promise<void>
}

export type Place = {
  /** Folder of this contest. The Postgres server of Vivarium and DBOS is in it, Restate keeps its store in it. */
  readonly folder: string
  /** Distinguishes the rounds: name of the schema, the database or the folder of this round. */
  readonly round: string
  /** The one setting of a peer that depends on the machine (vs-dbos.ts, vs-restate.ts say which). */
  readonly setting: number
}

export type OpenSide = (place: Place) => Promise<Side>

export const SIDES = ['vivarium', 'vivarium-new', 'dbos', 'restate'] as const
export type SideName = (typeof SIDES)[number]

export type Plan = { readonly warmMs: number; readonly loneMs: number; readonly loadedMs: number }

/** What a child is told, as its one argument. */
export type Task = Place & { readonly side: SideName; readonly plan: Plan }

/** What a child answers, as its one message. */
export type Round = {
  readonly stepsPerSecond: number
  /** Ms a step of a lone run takes: the whole run, start and end included, divided by its steps; median of the runs. */
  readonly loneStepMs: number
  /** CPU of the side's Node process during the loaded window, in cores; servers beside it are not in it. */
  readonly nodeCores: number
}
