/**
 * Large values in the text form: where one stood, a stored text holds `{"$blob":"<hash>"}`, and the value's own text is
 * a row of `blobs` under the sha256 of it.
 *
 * - A reference is found by its characters alone: inside a JSON string its quotes would be escaped, and a key of the
 *   user that begins with `$` gets a second one. So putting the texts back gives the very text that was taken apart.
 * - The text of a blob may hold references itself: a large list with a large item.
 */
export const BLOB_TAG = '$blob'

const REFERENCE = /\{"\$blob":"([0-9a-f]{64})"\}/g

export function blobReference(hash: string): string {
  return `{"${BLOB_TAG}":"${hash}"}`
}

/** The text with every reference replaced by what `find` gives for its hash. */
export function attachBlobs(text: string, find: (hash: string) => string): string {
  return text.replace(REFERENCE, (_reference, hash: string) => attachBlobs(find(hash), find))
}

/** What stands for a large value that is not shown: an ordinary value, `{ $blob, chars }`. `chars` is the length of its
 *  own text, null when it is gone. */
export function omittedBlob(hash: string, chars: number | null): string {
  return `{"$${BLOB_TAG}":"${hash}","chars":${chars}}`
}
