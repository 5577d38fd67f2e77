/**
 * Puts large values back where they stood, in rows that one consistent read brought together with their references.
 *
 * - Only rows with references are looked at; most processes have none.
 * - V4: a value that is gone is found here and named; no reader gets a reference instead of a value.
 */
import { attachBlobs, omittedBlob } from '../../shared/blob-text.ts'
import { JOURNAL_CHARS_MAX, type ShownRow } from './archive.ts'
import { blobMissing, type JournalRow, type Loaded, type MissingBlob, type Pid } from './store.ts'

/** `value` is given at one reference of each hash at least; nowhere means that it is gone. */
export type BlobRef = { process: Pid; seq: number; snapshot: boolean; hash: string; value: string | null }

export type Rows = Pick<Loaded, 'snapshot' | 'journal'>
/** The same with whatever else is known of a snapshot or row. */
type RowsOf<S, R> = { readonly snapshot: S | null; readonly journal: readonly R[] }

export class Attachments {
  readonly #texts = new Map<string, string>()
  readonly #refs = new Map<Pid, BlobRef[]>()

  constructor(refs: readonly BlobRef[]) {
    for (const ref of refs) {
      if (ref.value !== null) this.#texts.set(ref.hash, ref.value)
      const own = this.#refs.get(ref.process)
      if (own === undefined) this.#refs.set(ref.process, [ref])
      else own.push(ref)
    }
  }

  /** The rows with their values; as they are when the process refers to none. */
  attach<S extends { seq: number; value: string }, R extends { seq: number; payload: string }>(
    process: Pid,
    { snapshot, journal }: RowsOf<S, R>,
  ): RowsOf<S, R> & { missing?: MissingBlob } {
    const refs = this.#refs.get(process)
    if (refs === undefined) return { snapshot, journal }
    const lost = refs.find((ref) => !this.#texts.has(ref.hash))
    if (lost !== undefined) return { snapshot, journal, missing: { hash: lost.hash, seq: lost.seq } }
    const whole = (text: string): string => attachBlobs(text, (hash) => this.#texts.get(hash) ?? '')
    const seqs = new Set(refs.flatMap((ref) => (ref.snapshot ? [] : [ref.seq])))
    const inSnapshot = refs.some((ref) => ref.snapshot && ref.seq === snapshot?.seq)
    return {
      snapshot: snapshot !== null && inSnapshot ? { ...snapshot, value: whole(snapshot.value) } : snapshot,
      journal: journal.map((row) => (seqs.has(row.seq) ? { ...row, payload: whole(row.payload) } : row)),
    }
  }
}

/** @throws BLOB_MISSING */
export function assertWhole<T extends object>(rows: T & { missing?: MissingBlob }, process: string): T {
  if (rows.missing !== undefined) throw blobMissing(process, rows.missing)
  return rows
}

/** `chars` is null when the blob is gone. */
export type BlobSize = { seq: number; hash: string; chars: number | null }

/** Which blobs of a page are shown in place: all of the first row, later ones while the page stays bounded. */
export function shownBlobs(rows: readonly JournalRow[], sizes: readonly BlobSize[]): Set<string> {
  const shown = new Set<string>()
  let total = 0
  for (const [i, { seq }] of rows.entries()) {
    const own = sizes.filter((size) => size.seq === seq && size.chars !== null)
    const chars = own.reduce((sum, size) => sum + (size.chars ?? 0), 0)
    if (i > 0 && total + chars > JOURNAL_CHARS_MAX) continue
    total += chars
    for (const size of own) shown.add(size.hash)
  }
  return shown
}

/** Rows for people: what is not among `texts` stands there with its size. */
export function shownRows(
  rows: readonly JournalRow[],
  sizes: readonly BlobSize[],
  texts: ReadonlyMap<string, string>,
): ShownRow[] {
  const chars = new Map(sizes.map((size) => [size.hash, size.chars]))
  return rows.map((row) => {
    const hidden = sizes.filter(({ seq, hash }) => seq === row.seq && !texts.has(hash))
    const omitted = hidden.reduce((sum, size) => sum + (size.chars ?? 0), 0)
    if (!sizes.some(({ seq }) => seq === row.seq)) return { ...row, omitted }
    const find = (hash: string): string => texts.get(hash) ?? omittedBlob(hash, chars.get(hash) ?? null)
    return { ...row, payload: attachBlobs(row.payload, find), omitted }
  })
}
