/** What a watchdog tells of a thread that was held: one plain object per hold, after its end. */

/** Whose code held it. */
export type Holder = {
  readonly watched: number
  readonly id: string
  readonly incarnation: number
  readonly op: string | null
}

export type Hold = {
  /** Ms for which nothing else ran, at least: the delay of a timer that was due. */
  readonly durationMs: number
  /** Null where the code belonged to no process, or nobody could look. */
  readonly holder: Holder | null
  /** The frames in the middle of it, innermost first: `name (url:line:column)`. Empty where none was taken. */
  readonly stack: readonly string[]
}

/** `globalThis[HOLDER]()`: JSON of the `Holder` whose code runs now, or null. The watchdog asks a thread that stands
 *  still for it, through the inspector. */
export const HOLDER_KEY = 'vivarium.holder'
