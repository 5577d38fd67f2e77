/** Large values on memory: the verdicts of postgres/blob.ts. */
import type { BlobRef } from '../attach.ts'
import { BLOB_FRESH_MS, type Collected, type CollectStep, type NewBlob, type NodeIdentity, type Pid } from '../store.ts'
import type { MemoryDatabase } from './database.ts'
import { assertText } from './text.ts'

export function writeBlobs(db: MemoryDatabase, node: NodeIdentity, blobs: readonly NewBlob[]): void {
  for (const { value } of blobs) assertText(value)
  if (!db.alive(node)) return
  for (const blob of blobs) putBlob(db, blob)
}

/** What is there under the hash is touched and stays. */
export function putBlob(db: MemoryDatabase, { hash, value }: NewBlob): void {
  db.blobs.set(hash, { value: db.blobs.get(hash)?.value ?? value, touchedAt: db.clock.now() })
}

/** D21: a row may begin to refer to it. */
export function isFresh(db: MemoryDatabase, hash: string): boolean {
  const blob = db.blobs.get(hash)
  return blob !== undefined && blob.touchedAt > db.clock.now() - BLOB_FRESH_MS
}

/** The references of a row; those of a snapshot take the place of the snapshot's before. */
export function refer(
  db: MemoryDatabase,
  process: Pid,
  row: { seq: number; snapshot: boolean },
  hashes: readonly string[] = [],
): void {
  const known = db.blobRefs.get(process) ?? []
  const stays = new Set((db.waypoints.get(process) ?? []).map(({ seq }) => seq))
  const kept = row.snapshot ? known.filter((ref) => !ref.snapshot || stays.has(ref.seq)) : known
  if (hashes.length === 0 && kept.length === known.length) return
  db.blobRefs.set(process, [...kept, ...hashes.map((hash) => ({ ...row, hash }))])
}

/** As a load needs them: of the snapshot and of later rows. */
export function blobRefs(db: MemoryDatabase, process: Pid): BlobRef[] {
  const from = db.snapshots.get(process)?.seq ?? 0
  return (db.blobRefs.get(process) ?? [])
    .filter((ref) => (ref.snapshot ? ref.seq === from : ref.seq > from))
    .map((ref) => ({ ...ref, process, value: db.blobs.get(ref.hash)?.value ?? null }))
}

export function collectBlobs(db: MemoryDatabase, node: NodeIdentity, step: CollectStep): Collected {
  const { untouchedMs, after, limit } = step
  if (!db.alive(node)) return { collected: 0, cursor: null }
  const looked = [...db.blobs]
    .filter(([hash]) => hash > (after ?? ''))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, limit)
  const used = new Set([...db.blobRefs.values()].flat().map((ref) => ref.hash))
  const oldest = db.clock.now() - untouchedMs
  const free = looked.filter(([hash, blob]) => blob.touchedAt < oldest && !used.has(hash))
  for (const [hash] of free) db.blobs.delete(hash)
  return { collected: free.length, cursor: looked.length < limit ? null : (looked.at(-1)?.[0] ?? null) }
}
