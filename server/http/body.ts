/**
 * Request bodies: JSON, bounded while they arrive, so that a large one is refused without being held in memory.
 */
import { RuntimeError } from '../../shared/error.ts'

/** Bytes. Messages are small; large data belongs outside the agent. */
export const BODY_BYTES_MAX = 1024 * 1024
/** Bytes of a file with a whole process. */
export const FILE_BYTES_MAX = 256 * 1024 * 1024

/** The parsed body; an empty one is `{}`, because every field of many bodies is optional.
 *  @throws PAYLOAD_TOO_LARGE REQUEST_INVALID */
export async function readJson(request: Request, bytesMax = BODY_BYTES_MAX): Promise<unknown> {
  const text = utf8(await readBytes(request, bytesMax))
  if (text.trim() === '') return {}
  const type = request.headers.get('content-type') ?? ''
  if (!/^application\/(json|[\w.+-]+\+json)\s*(;|$)/i.test(type)) {
    throw new RuntimeError(
      'REQUEST_INVALID',
      `The body has the content type ${JSON.stringify(type)}. Send application/json.`,
    )
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new RuntimeError('REQUEST_INVALID', `The body is not JSON: ${why}.`)
  }
}

/** The whole body as it is. @throws PAYLOAD_TOO_LARGE */
export async function readBytes(request: Request, bytesMax = BODY_BYTES_MAX): Promise<Uint8Array> {
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge(bytesMax)
  if (request.body === null) return new Uint8Array()
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of request.body) {
    bytes += part.byteLength
    if (bytes > bytesMax) throw tooLarge(bytesMax) // leaving the loop cancels the stream
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** @throws REQUEST_INVALID */
export function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new RuntimeError('REQUEST_INVALID', 'The body is not valid UTF-8.')
  }
}

function tooLarge(bytesMax: number): RuntimeError {
  return new RuntimeError('PAYLOAD_TOO_LARGE', `The body is larger than ${bytesMax} bytes.`)
}
