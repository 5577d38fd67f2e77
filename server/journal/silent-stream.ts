/**
 * Streams of a turn whose chunks go nowhere: of one that runs again for the sake of the answer (replayed-turn.ts), and
 * of one in a sandbox. Chunks are outputs, not results: no replay compares them.
 */
import type { StreamOut } from '../definition/stream.ts'
import { TurnStreams } from './turn-stream.ts'

export class SilentStreams extends TurnStreams {
  override own(name: string): StreamOut {
    super.own(name) // refuses what cannot be a stream
    return SILENT
  }
}

const SILENT: StreamOut = {
  write: async () => {},
  append: async () => {},
  close: async () => {},
  flush: async () => {},
}
