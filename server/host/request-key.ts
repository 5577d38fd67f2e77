/** What makes two requests the same: operation and arguments, in their one text form. */
import { createHash } from 'node:crypto'

export function argsHash(op: string, args: string): string {
  return createHash('sha256').update(`${op}\n${args}`).digest('base64url')
}
