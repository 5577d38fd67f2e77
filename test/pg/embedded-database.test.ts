/** The two servers the store's suites run on: a database of the run, and an older version where one is. */
import postgres from 'postgres'
import { expect, inject, test } from 'vitest'
import { findOlderServer, freshDatabase, startOlderServer, type TestDatabase } from '../support/database.ts'

test('[D39] databases of two test files never meet', async () => {
  const [one, two] = await Promise.all([freshDatabase(), freshDatabase()])
  await query(one, 'create table mark as select 1 as n')
  await expect(query(two, 'select n from mark')).rejects.toMatchObject({ code: '42P01' })
  expect(one.connection.database.startsWith(inject('postgres').prefix)).toBe(true)
  await Promise.all([one.drop(), two.drop()])
})

const older = await findOlderServer()

test.runIf(older !== undefined)('[D39] the same settings start the oldest server of this machine', async () => {
  if (older === undefined) return
  const database = await startOlderServer(older)
  const [row] = await query(database, `select current_setting('server_version_num')::int / 10000 as major`)
  expect(row).toEqual({ major: older.major })
  await database.drop()
})

async function query(database: TestDatabase, text: string): Promise<Record<string, unknown>[]> {
  const sql = postgres({ ...database.connection, max: 1 })
  try {
    return [...(await sql.unsafe(text))]
  } finally {
    await sql.end()
  }
}
