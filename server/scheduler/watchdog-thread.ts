/** Entry of the thread of a watchdog: hold-watch.ts with the real clock, the inspector, a port and stderr. */
import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { realClock } from '../clock.ts'
import { Beat } from './beat.ts'
import { HoldWatch } from './hold-watch.ts'
import { StackReader } from './live-stack.ts'

export type WatchdogData = { readonly memory: SharedArrayBuffer; readonly warnMs: number }

const STDERR = 2

const { memory, warnMs } = workerData as WatchdogData // given by watchdog.ts
const clock = realClock()
const beat = new Beat(memory)
const reader = new StackReader(clock)
// The thread that is held could not pass on what is said of it: straight to the descriptor.
const speak = (text: string): void => void writeSync(STDERR, text)
new HoldWatch({ clock, beat, reader, warnMs, tell: (hold) => parentPort?.postMessage(hold), speak }).look()
