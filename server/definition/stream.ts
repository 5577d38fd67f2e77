/**
 * The writing end of a stream: what `ctx.stream` and `info.stream` give. Streams are exempt from the turn's all or
 * nothing (PROTOCOL M8): a chunk is visible to readers within milliseconds, before the turn ends, and stays when the
 * turn fails.
 *
 * - Chunks keep the order of the calls. A replay of the turn does not write again what it wrote before.
 * - Await the calls: they wait while much is unstored (back-pressure), and tell what went wrong.
 */
export interface StreamOut {
  /** Any value that can be stored; a text is the common one. Resolves when there is room for the next one.
   *  @throws STREAM_CLOSED  @throws STREAM_LIMIT  too large, too many  @throws FENCED  another node writes it now */
  write(chunk: unknown): Promise<void>
  /** The same. */
  append(chunk: unknown): Promise<void>
  /** Ends the stream for good; readers end too. Resolves once that is stored. Idempotent. Inside a step it resolves
   *  once the chunks are stored, and the stream ends with the step's result: a step that fails or runs again closed
   *  nothing. */
  close(): Promise<void>
  /** Resolves once everything written before is stored. */
  flush(): Promise<void>
}
