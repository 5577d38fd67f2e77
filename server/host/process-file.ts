/**
 * Files of processes: made with a checksum, and refused when they were changed, cut, or written by a later version.
 *
 * - Under another id a process is a copy: nobody waits for its answers, so the addresses of its messages are left out.
 *   Its open turn goes on as well, with the idempotency keys of the original.
 */
import { hash as digest } from 'node:crypto'
import { RuntimeError } from '../../shared/error.ts'
import { assertProcessId, type ProcessId, processNotFound, splitId } from '../../shared/id.ts'
import {
  PROCESS_FILE_FORMAT,
  PROCESS_FILE_VERSION,
  type ProcessBody,
  type ProcessFile,
  processFileSchema,
} from '../../shared/process-file.ts'
import type { RuntimeCore } from '../runtime.ts'

const checksumOf = (body: unknown): string => digest('sha256', JSON.stringify(body))

/** @throws PROCESS_NOT_FOUND */
export async function exportFile(core: RuntimeCore, id: ProcessId): Promise<ProcessFile> {
  const body = await core.backend.handle.archive.exportProcess(core.namespace, id)
  if (body === null) throw processNotFound(id)
  const head = { format: PROCESS_FILE_FORMAT, version: PROCESS_FILE_VERSION, exportedAt: core.clock.now() } as const
  return { ...head, checksum: checksumOf(body), body }
}

/** The id under which the file of `given` is to be stored. @throws FILE_INVALID REQUEST_INVALID ID_INVALID */
export function readFile(given: unknown, as: ProcessId | undefined): { id: ProcessId; body: ProcessBody } {
  const version: unknown = Reflect.get(Object(given), 'version')
  if (typeof version === 'number' && version > PROCESS_FILE_VERSION) {
    throw invalid(`has version ${version}; this release reads up to ${PROCESS_FILE_VERSION}`)
  }
  const parsed = processFileSchema.safeParse(given)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw invalid(`is not one of ours: ${issue?.path.map(String).join('.')} ${issue?.message}`)
  }
  const { body, checksum } = parsed.data
  // Of what came, not of what was read: reading may put keys into another order.
  const found = checksumOf(Reflect.get(Object(given), 'body'))
  if (found !== checksum)
    throw invalid(`was changed: its checksum is ${found.slice(0, 12)}, not ${checksum.slice(0, 12)}`)
  // They are stored for every process that refers to them, and the checksum is as easily made as the file.
  const forged = body.blobs.find(({ hash, value }) => digest('sha256', value) !== hash)
  if (forged !== undefined) throw invalid(`holds a large value under the hash ${forged.hash}, which is not its own`)
  const id = as ?? body.process.id
  assertProcessId(id)
  if (splitId(id).agent !== body.process.agent) {
    const text = `${id} is no id for a process of the agent ${body.process.agent}. Use ${body.process.agent}/KEY.`
    throw new RuntimeError('REQUEST_INVALID', text)
  }
  if (id === body.process.id) return { id, body }
  return { id, body: { ...body, mailbox: body.mailbox.map((row) => ({ ...row, replyTo: null })) } }
}

/** @throws FILE_INVALID REQUEST_INVALID ID_INVALID PROCESS_EXISTS */
export async function importFile(
  core: RuntimeCore,
  { id, body }: { id: ProcessId; body: ProcessBody },
  replace: boolean,
): Promise<string> {
  const outcome = await core.backend.handle.store.importProcess(core.node, body, { id, replace })
  if (outcome === 'imported') {
    core.layer.ports.crash.hit('import:stored')
    return `imported ${body.journal.length} rows`
  }
  const text =
    outcome === 'owned' ? 'runs on a node. Stop it first' : 'exists. Give another id, or say that it is replaced'
  throw new RuntimeError('PROCESS_EXISTS', `${id} ${text}.`, { detail: { id } })
}

function invalid(what: string): RuntimeError {
  return new RuntimeError('FILE_INVALID', `The file ${what}.`)
}
