/**
 * A TCP proxy in front of a test's Postgres, for what networks do: refuse, break, and lose an answer after the server
 * did what it was asked. Bytes are passed on unchanged.
 */

import { once } from 'node:events'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import type { TestConnection } from './postgres.ts'

/** How the runtime's commit connections introduce themselves in their startup packet. */
const COMMIT_NAME = 'vivarium commit'
/** ReadyForQuery, not in a transaction: everything the client sent so far is done and committed. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])
/** Start of the tag by which the server says that a statement with rows is complete. */
const TAG = Buffer.from('SELECT ')

export class PostgresProxy {
  /** How to connect through it. */
  readonly url: string
  /** Acknowledgements that were lost on purpose. */
  lost = 0
  readonly #target: () => TestConnection
  readonly #port: number
  #server: Server | null = null
  readonly #sockets = new Set<Socket>()
  #loseNext: (() => void) | null = null

  private constructor(target: () => TestConnection, port: number) {
    const { user, password, database } = target()
    this.#target = target
    this.#port = port
    this.url = `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`
  }

  /** Takes a free port and does not listen yet: whoever connects is refused. */
  static async make(target: () => TestConnection): Promise<PostgresProxy> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('The proxy got no port.')
    server.close()
    await once(server, 'close')
    return new PostgresProxy(target, address.port)
  }

  async open(): Promise<void> {
    const server = createServer((client) => this.#connect(client)).listen(this.#port, '127.0.0.1')
    this.#server = server
    await once(server, 'listening')
  }

  /** Breaks every connection and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server
    this.#server = null
    for (const socket of this.#sockets) socket.destroy()
    if (server === null) return
    server.close()
    await once(server, 'close')
  }

  /** The next commit is carried out, and its connection breaks instead of saying so. Resolves when that happened. */
  loseNextCommitAck(): Promise<void> {
    return new Promise((resolve) => {
      this.#loseNext = resolve
    })
  }

  #connect(client: Socket): void {
    const { host, port } = this.#target()
    const path = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port }
    const server = createConnection(path)
    let started = false
    let commits = false
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => other.destroy()) // a broken pair is what this proxy is for
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => {
      if (!started) commits = chunk.includes(COMMIT_NAME)
      started = true
      server.write(chunk)
    })
    server.on('data', (chunk: Buffer) => {
      const lose = this.#loseNext
      if (lose !== null && commits && chunk.includes(TAG) && chunk.subarray(-READY.length).equals(READY)) {
        this.#loseNext = null
        this.lost += 1
        client.destroy()
        server.destroy()
        return lose()
      }
      client.write(chunk)
    })
  }
}
