/**
 * Reads large values as rows: what a journal row or snapshot refers to is there and is what its hash says, and every
 * reference in a text has its row. What nobody refers to is left of a crash and may be there.
 */
import { createHash } from 'node:crypto'
import type { Rows } from './rows.ts'

const REFERENCE = /\{"\$blob":"([0-9a-f]+)"\}/g

export async function checkBlobs({ sql, schema }: Rows): Promise<string[]> {
  const found: string[] = []
  const lost = await sql<{ process: string; seq: string; hash: string }[]>`
    select r.process, r.seq, r.hash from ${sql(schema)}.blob_refs r
    where not exists (select 1 from ${sql(schema)}.blobs b where b.hash = r.hash)`
  for (const { process, seq, hash } of lost) found.push(`blob ${hash} of process ${process} row ${seq} is gone`)
  const texts = await sql<{ process: string; seq: string; snapshot: boolean; text: string }[]>`
    select process, seq, false as snapshot, payload as text from ${sql(schema)}.journal where payload like '%"$blob"%'
    union all
    select process, seq, true, value from ${sql(schema)}.snapshots where value like '%"$blob"%'`
  const refs = await sql<{ ref: string }[]>`
    select concat_ws(' ', process, seq, snapshot, hash) as ref from ${sql(schema)}.blob_refs`
  const known = new Set(refs.map((row) => row.ref))
  for (const { process, seq, snapshot, text } of texts) {
    for (const [, hash] of text.matchAll(REFERENCE)) {
      const ref = `${process} ${seq} ${snapshot ? 't' : 'f'} ${hash}`
      if (!known.has(ref)) found.push(`${ref} has no row among the references`)
    }
  }
  const blobs = sql<{ hash: string; value: string }[]>`select hash, value from ${sql(schema)}.blobs`
  for await (const page of blobs.cursor(20)) {
    for (const { hash, value } of page) {
      if (createHash('sha256').update(value).digest('hex') !== hash)
        found.push(`blob ${hash} is not what its hash says`)
    }
  }
  return found
}
