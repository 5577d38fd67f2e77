/** The embedded server as runtimes use it: start, join, leave, and every way it or a runtime can die. */
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterEach, expect, test } from 'vitest'
import {
  type EmbeddedConnection,
  type EmbeddedPostgres,
  startEmbedded,
  stopEmbedded,
} from '../../server/store/embedded/embedded.ts'
import { processesBelow, serverPid, testFolders } from '../support/embedded-folder.ts'
import { killedStart, startUser } from '../support/embedded-user.ts'

const folders = testFolders()

afterEach(async () => {
  expect(await folders.clear(), 'servers left running').toEqual([])
})

test('[D30] the first runtime creates the server and the last clean exit stops it', async () => {
  const dataDir = await folders.make()
  const server = await startEmbedded({ dataDir })
  const rows = await query(server.connection, `select current_database() as name, current_setting('fsync') as fsync`)
  expect(rows).toEqual([{ name: 'vivarium', fsync: 'on' }])
  expect(server.version).toMatch(/^18\./)
  expect(await server.ensureRunning()).toBe('running')
  expect((await stat(join(dataDir, 'postgres', 'secret'))).mode & 0o777).toBe(0o600)
  expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700)
  expect(await server.release()).toBe('stopped')
  expect(await processesBelow(dataDir)).toEqual([])
  await expect(stat(server.connection.host)).rejects.toThrow('ENOENT')
})

test('[D30] data outlives the server', async () => {
  const dataDir = await folders.make()
  const first = await startEmbedded({ dataDir })
  await query(first.connection, `create table kept as select 42 as answer`)
  await first.release()
  const second = await startEmbedded({ dataDir })
  expect(await query(second.connection, `select answer from kept`)).toEqual([{ answer: 42 }])
  await second.release()
})

test('[D31] runtimes of two processes share one server, and the last to leave stops it', async () => {
  const dataDir = await folders.make()
  const one = await startUser(dataDir)
  const pid = await serverPid(dataDir)
  const two = await startUser(dataDir)
  expect(two.up).toEqual(one.up)
  expect(await serverPid(dataDir)).toBe(pid)
  await expect(stopEmbedded(dataDir)).rejects.toMatchObject({ code: 'EMBEDDED_FOLDER_LOCKED', detail: { users: 2 } })
  expect(await one.ask('release')).toEqual({ kind: 'released', outcome: 'left-running' })
  await one.exited()
  expect(await two.ask('release')).toEqual({ kind: 'released', outcome: 'stopped' })
  await two.exited()
  expect(await processesBelow(dataDir)).toEqual([])
})

test('[D31] two processes that start at once make one server', async () => {
  const dataDir = await folders.make()
  const [one, two, three] = await Promise.all([startUser(dataDir), startUser(dataDir), startUser(dataDir)])
  expect([two.up, three.up]).toEqual([one.up, one.up])
  const outcomes = await Promise.all([one.ask('release'), two.ask('release'), three.ask('release')])
  expect(outcomes.map((answer) => 'outcome' in answer && answer.outcome).sort()).toEqual([
    'left-running',
    'left-running',
    'stopped',
  ])
  await Promise.all([one.exited(), two.exited(), three.exited()])
})

test('[D32] a killed runtime leaves the server to the next one and does not count as a user', async () => {
  const dataDir = await folders.make()
  const dead = await startUser(dataDir)
  const pid = await serverPid(dataDir)
  await dead.kill()
  const next = await startEmbedded({ dataDir })
  expect(await serverPid(dataDir)).toBe(pid)
  expect(await next.release()).toBe('stopped')
})

test('[D32] a server whose runtime was killed is stopped by name of its folder', async () => {
  const dataDir = await folders.make()
  const dead = await startUser(dataDir)
  await dead.kill()
  await untilUnused(dead.up)
  expect(await stopEmbedded(dataDir)).toBe('stopped')
  expect(await stopEmbedded(dataDir)).toBe('not-running')
  expect(await processesBelow(dataDir)).toEqual([])
})

test('[D33] a killed postmaster is noticed and brought up again with its data', async () => {
  const dataDir = await folders.make()
  const server = await startEmbedded({ dataDir })
  await query(server.connection, `create table kept as select 42 as answer`)
  const pid = await serverPid(dataDir)
  const down = nextDown(server)
  process.kill(pid, 'SIGKILL')
  await down
  const outcomes = await Promise.all([server.ensureRunning(), server.ensureRunning()])
  expect(outcomes).toEqual(['restarted', 'restarted'])
  expect(await serverPid(dataDir)).not.toBe(pid)
  expect(await query(server.connection, `select answer from kept`)).toEqual([{ answer: 42 }])
  expect(await server.ensureRunning()).toBe('running')
  const again = nextDown(server)
  process.kill(await serverPid(dataDir), 'SIGKILL')
  await again
  expect(await server.ensureRunning()).toBe('restarted')
  await server.release()
})

test('[D33] a backend that outlives its killed postmaster does not keep the server down', async () => {
  const dataDir = await folders.make()
  const server = await startEmbedded({ dataDir })
  const busy = postgres({ ...server.connection, max: 1 })
  await busy`select 1`
  const endless = busy`do $$ begin loop null; end loop; end $$`
  const outcome = endless.then(
    () => 'answered',
    () => 'lost',
  )
  await untilActive(server.connection)
  const down = nextDown(server)
  process.kill(await serverPid(dataDir), 'SIGKILL')
  await down
  expect(await server.ensureRunning()).toBe('restarted')
  expect(await outcome).toBe('lost')
  // Without a time-out the driver waits for ever for a connection that was lost.
  await busy.end({ timeout: 1 })
  await server.release()
}, 30_000)

test('[D33] runtimes that lost the server at once bring it up once', async () => {
  const dataDir = await folders.make()
  const one = await startUser(dataDir)
  const two = await startUser(dataDir)
  process.kill(await serverPid(dataDir), 'SIGKILL')
  expect(await Promise.all([one.ask('await-down'), two.ask('await-down')])).toEqual([
    { kind: 'down' },
    { kind: 'down' },
  ])
  const outcomes = await Promise.all([one.ask('ensure'), two.ask('ensure')])
  expect(outcomes).toEqual([
    { kind: 'ensured', outcome: 'restarted' },
    { kind: 'ensured', outcome: 'restarted' },
  ])
  expect(await one.ask('release')).toEqual({ kind: 'released', outcome: 'left-running' })
  expect(await two.ask('release')).toEqual({ kind: 'released', outcome: 'stopped' })
  await Promise.all([one.exited(), two.exited()])
})

test('[D33] a socket folder that a cleaner of temp folders took is made again', async () => {
  const dataDir = await folders.make()
  const dead = await startUser(dataDir)
  await dead.kill()
  await rm(dead.up.host, { recursive: true })
  const server = await startEmbedded({ dataDir })
  expect(server.connection.host).toBe(dead.up.host)
  expect(await query(server.connection, `select 1 as one`)).toEqual([{ one: 1 }])
  await server.release()
})

test('[D34] files of another major version are refused and left alone', async () => {
  const dataDir = await folders.make()
  const server = await startEmbedded({ dataDir })
  await server.release()
  const file = join(dataDir, 'postgres', 'cluster', 'PG_VERSION')
  await writeFile(file, '17\n')
  const refusal = startEmbedded({ dataDir })
  await expect(refusal).rejects.toMatchObject({
    code: 'EMBEDDED_VERSION_MISMATCH',
    detail: { found: '17', wanted: '18' },
  })
  await expect(refusal).rejects.toThrow(/Postgres 17.*Postgres 18.*pg_dump/s)
})

test('[D34] a server that does not accept the secret of the folder is refused, not stopped', async () => {
  const dataDir = await folders.make()
  const server = await startEmbedded({ dataDir })
  const secret = join(dataDir, 'postgres', 'secret')
  await writeFile(secret, 'another')
  await expect(startEmbedded({ dataDir })).rejects.toMatchObject({ code: 'EMBEDDED_FOLDER_LOCKED' })
  expect(await server.ensureRunning()).toBe('running')
  await writeFile(secret, server.connection.password)
  await server.release()
})

test('[D35] a pid file that now names another program does not block the start', async () => {
  const dataDir = await folders.make()
  const server = await startEmbedded({ dataDir })
  const down = nextDown(server)
  const pid = await serverPid(dataDir)
  process.kill(pid, 'SIGKILL')
  await down
  const file = join(dataDir, 'postgres', 'cluster', 'postmaster.pid')
  await writeFile(file, `${process.pid}\n${dataDir}\n1\n5432\n${server.connection.host}\n\n\nready\n`)
  expect(await server.ensureRunning()).toBe('restarted')
  expect(await serverPid(dataDir)).not.toBe(process.pid)
  await server.release()
})

test('[D35] what a start that was killed half way left behind is cleared', async () => {
  const dataDir = await folders.make()
  await mkdir(join(dataDir, 'postgres', 'cluster.new-0badcafe', 'base'), { recursive: true })
  const server = await startEmbedded({ dataDir })
  expect((await readdir(join(dataDir, 'postgres'))).sort()).toEqual(['cluster', 'secret', 'server.log'])
  await server.release()
})

test('[D35] a first start that was killed with the server up is finished by the next one', async () => {
  const dataDir = await folders.make()
  const log = join(dataDir, 'crash.log')
  await killedStart(dataDir, log)
  expect(await readFile(log, 'utf8')).toBe('embedded:started\n')
  const pid = await serverPid(dataDir)
  const server = await startEmbedded({ dataDir })
  expect(await serverPid(dataDir)).toBe(pid)
  expect(await query(server.connection, `select current_database() as name`)).toEqual([{ name: 'vivarium' }])
  expect(await server.release()).toBe('stopped')
})

test('[D36] a data folder below a folder that only its owner may pass works, as root too', async () => {
  const closed = await folders.make()
  await chmod(closed, 0o700)
  const dataDir = join(closed, 'clone', 'data')
  const server = await startEmbedded({ dataDir })
  expect(await query(server.connection, `select 1 as one`)).toEqual([{ one: 1 }])
  const down = nextDown(server)
  process.kill(await serverPid(dataDir), 'SIGKILL')
  await down
  expect(await server.ensureRunning()).toBe('restarted')
  expect(await server.release()).toBe('stopped')
})

test('[D36] a path that cannot be a folder is refused by name', async () => {
  const dataDir = join(await folders.make(), 'file')
  await writeFile(dataDir, '')
  const refusal = startEmbedded({ dataDir: join(dataDir, 'data') })
  await expect(refusal).rejects.toMatchObject({ code: 'EMBEDDED_UNREACHABLE_FOLDER' })
  await expect(refusal).rejects.toThrow(dataDir)
})

async function query(connection: EmbeddedConnection, text: string): Promise<Record<string, unknown>[]> {
  const sql = postgres({ ...connection, max: 1 })
  try {
    return [...(await sql.unsafe(text))]
  } finally {
    await sql.end()
  }
}

function nextDown(server: EmbeddedPostgres): Promise<void> {
  return new Promise((resolve) => {
    const end = server.onDown(() => {
      end()
      resolve()
    })
  })
}

async function untilActive(connection: EmbeddedConnection): Promise<void> {
  const text = `select 1 from pg_stat_activity where state = 'active' and query like 'do %loop%'
    and pid <> pg_backend_pid()`
  while ((await query(connection, text)).length === 0);
}

/** The server notices a killed runtime when it next looks at its connection. */
async function untilUnused(up: { host: string; password: string }): Promise<void> {
  const text = `select 1 from pg_locks where locktype = 'advisory' and granted`
  const connection = { host: up.host, port: 5432, user: 'vivarium', password: up.password, database: 'vivarium' }
  while ((await query(connection, text)).length > 0);
}
