/**
 * Texts the Postgres store cannot take are refused here too, so that a test on memory meets the same refusals: NUL,
 * which Postgres has no place for, and the two separators of postgres/list.ts.
 */
import { type Commit, type NewMessage, StoreFailure } from '../store.ts'

const UNFIT = /[\u0000\u001e]|^\u001d$/

/** @throws StoreFailure `rejected` */
export function assertText(text: string | null): void {
  if (text === null || !UNFIT.test(text)) return
  const shown = JSON.stringify(text.slice(0, 80))
  throw new StoreFailure('rejected', `Text ${shown} has a control character that cannot be stored.`, {
    sqlState: '22021',
  })
}

export function assertMessage(message: NewMessage): void {
  assertText(message.id)
  assertText(message.target)
  assertText(message.op)
  assertText(message.args)
  assertText(message.sender)
}

export function assertCommit(commit: Commit): void {
  assertText(commit.payload)
  assertText(commit.meta.codeVersion)
  for (const turn of commit.meta.turnIds) assertText(turn)
  for (const message of commit.messages ?? []) assertMessage(message)
}
