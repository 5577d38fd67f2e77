/** The keys of the verbs, for whatever process is under the eyes: each opens the sheet, none acts at once. */
import type { ProcessRow } from '../../shared/snapshot.ts'
import { type KeyMap, useKeys } from '../ui/keys.ts'
import { ask, type ProcessVerb } from './action.ts'

export type VerbTarget = Pick<ProcessRow, 'id' | 'incarnation'> & {
  suspended: boolean
  takesMessages: boolean
  mendable: boolean
  answerable: boolean
  sandbox: boolean
}

/** Without a target the keys stay free for others that have one. */
export function useVerbKeys(target: VerbTarget | null): void {
  useKeys(target === null ? {} : keysOf(target))
}

function keysOf(target: VerbTarget): KeyMap {
  const { id, incarnation, suspended, takesMessages, mendable } = target
  const open = (verb: ProcessVerb) => () => ask({ verb, id, incarnation })
  return {
    'Shift+K': open('kill'),
    'Shift+R': open('restart'),
    'Shift+S': open('stop'),
    'Shift+P': open(suspended ? 'resume' : 'suspend'),
    '.': open('restart'),
    ...(takesMessages ? { 'Shift+M': open('send') } : {}),
    ...(mendable
      ? {
          ...{ 'Shift+E': open('edit-state'), 'Shift+T': open('retry-turn'), 'Shift+X': open('skip-message') },
          ...{ 'Shift+C': open('cancel'), 'Shift+F': open('fork') },
        }
      : {}),
    ...(target.answerable ? { 'Shift+A': open('answer') } : {}),
    ...(target.sandbox ? { Delete: open('discard') } : {}),
  }
}
