/**
 * The live stack of the main thread while it is busy, taken from another one over the inspector protocol.
 *
 * - The thread stands still between `Debugger.paused` and `Debugger.resume`: some milliseconds, and only when it has
 *   been holding everything up anyway. Nothing is set and nothing is left behind: the debugger is enabled for the look
 *   alone, because code runs slower beside an enabled one.
 * - A thread that a person debugs is left alone (`Beat.debugged`): our `resume` would end his break.
 * - A look that comes too late finds whoever runs next; `still` says whether the hold goes on.
 */
import { type Debugger, type InspectorNotification, Session } from 'node:inspector'
import type { Clock } from '../kernel/clock-port.ts'
import { HOLDER_KEY, type Holder } from './hold.ts'

/** Frames kept. What holds a thread is near the top. */
const FRAMES_MAX = 30
/** Ms. Native code that never looks up (a long regular expression does) cannot be interrupted: no stack then. */
const LOOK_MS_MAX = 1_000

export type LiveStack = { readonly holder: Holder | null; readonly stack: readonly string[] }

type Reply<T> = (error: Error | null, result: T) => void

export class StackReader {
  readonly #session = new Session()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
    this.#session.connectToMainThread()
  }

  close(): void {
    this.#session.disconnect()
  }

  /** Null where the thread could not be interrupted in time, or the hold was over when it was.
   *  @param still  asked while the thread stands */
  read(still: () => boolean): Promise<LiveStack | null> {
    const urls = new Map<string, string>()
    return new Promise((resolve) => {
      const parsed = ({ params }: InspectorNotification<Debugger.ScriptParsedEventDataType>): void => {
        urls.set(params.scriptId, params.url)
      }
      const done = (found: LiveStack | null): void => {
        timer.cancel()
        this.#session.off('Debugger.paused', paused)
        this.#session.off('Debugger.scriptParsed', parsed)
        this.#session.post('Debugger.resume')
        this.#session.post('Debugger.disable', () => resolve(found))
      }
      const paused = ({ params }: InspectorNotification<Debugger.PausedEventDataType>): void => {
        const [top] = params.callFrames
        if (top === undefined || !still()) return done(null)
        const stack = params.callFrames.slice(0, FRAMES_MAX).map((frame) => frameText(frame, urls))
        const asked = params.callFrames.find((frame) => !isInternal(frame, urls)) ?? top
        this.#holder(asked.callFrameId, (holder) => done({ holder, stack }))
      }
      const timer = this.#clock.after(LOOK_MS_MAX, () => done(null))
      this.#session.on('Debugger.paused', paused)
      this.#session.on('Debugger.scriptParsed', parsed)
      this.#session.post('Debugger.enable')
      this.#session.post('Debugger.pause')
    })
  }

  #holder(callFrameId: string, found: (holder: Holder | null) => void): void {
    const expression = `globalThis[Symbol.for('${HOLDER_KEY}')]?.()`
    const asked = { callFrameId, expression, silent: true, returnByValue: true }
    const heard: Reply<Debugger.EvaluateOnCallFrameReturnType> = (error, answer) => {
      const value: unknown = error === null ? answer.result.value : null
      found(typeof value === 'string' ? (JSON.parse(value) as Holder) : null) // written by the watchdog of that thread
    }
    this.#session.post('Debugger.evaluateOnCallFrame', asked, heard)
  }
}

/** Node's own modules hide the globals behind names of theirs. */
function isInternal({ location }: Debugger.CallFrame, urls: ReadonlyMap<string, string>): boolean {
  return urls.get(location.scriptId)?.startsWith('node:') === true
}

/** The frames themselves name scripts by number; all of them are told when the debugger is enabled. */
function frameText({ functionName, location }: Debugger.CallFrame, urls: ReadonlyMap<string, string>): string {
  const url = urls.get(location.scriptId) ?? ''
  const where = `${url === '' ? '<anonymous>' : url}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1}`
  return `${functionName === '' ? '<anonymous>' : functionName} (${where})`
}
