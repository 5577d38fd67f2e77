/**
 * What the store contract needs of an implementation, and short ways to say what a test is about: one process, one row,
 * one message. Each test has a namespace of its own, so the tests of one file share a database without meeting.
 */
import { expect } from 'vitest'
import type {
  ClaimOutcome,
  ClaimRequest,
  Commit,
  CommitOutcome,
  Loaded,
  NewMessage,
  NewTimer,
  NodeIdentity,
  ProcessRecord,
  Store,
  StoreHandle,
} from '../../server/store/store.ts'

/** Gives a handle on the store under test; all handles of one world are over the same data. */
export type StoreWorld = { readonly name: string; handle(): StoreHandle }

/** A process that this node owns. */
export type Owned = { readonly record: ProcessRecord; readonly claim: number; seq: number }

export const LEASE_MS = 60_000
/** A lease that has run out when it begins. */
export const LEASE_OVER_MS = -1_000

let namespaces = 0

export class StoreBench {
  readonly store: Store
  readonly archive: StoreHandle['archive']
  readonly namespace: string

  constructor(world: StoreWorld) {
    const { store, archive } = world.handle()
    this.store = store
    this.archive = archive
    this.namespace = `test ${process.pid} ${++namespaces}`
  }

  node(facts: { leaseMs?: number; host?: string; capabilities?: Record<string, number>; namespace?: string } = {}) {
    return this.store.registerNode(facts.namespace ?? this.namespace, {
      name: 'node',
      host: facts.host ?? 'host',
      bootId: 'boot',
      osPid: 1,
      osStartedAt: '1',
      capabilities: facts.capabilities ?? {},
      leaseMs: facts.leaseMs ?? LEASE_MS,
    })
  }

  async claim(node: NodeIdentity, key: string, options: Partial<ClaimRequest> = {}): Promise<ClaimOutcome> {
    const [outcome] = await this.store.claim(node, [claimRequest(key, options)])
    return outcome ?? expect.fail('A claim has one outcome per request.')
  }

  /** Claims a process that must be free. */
  async own(node: NodeIdentity, key: string, options: Partial<ClaimRequest> = {}): Promise<Owned> {
    const outcome = await this.claim(node, key, options)
    if (outcome.kind !== 'claimed') expect.fail(`Process cart/${key} is ${outcome.kind}.`)
    return { record: outcome.record, claim: outcome.claim, seq: outcome.seq }
  }

  async commit(node: NodeIdentity, ...rows: Commit[]): Promise<CommitOutcome[]> {
    return this.store.commit(node, rows)
  }

  /** Commits the next row of a process, which must be accepted, and returns the numbers of its messages. */
  async write(node: NodeIdentity, owned: Owned, parts: Partial<Commit> = {}): Promise<readonly number[]> {
    const [outcome] = await this.store.commit(node, [row(owned, parts)])
    if (outcome?.kind !== 'committed') expect.fail(`Row ${owned.seq + 1} of ${owned.record.id} was refused.`)
    owned.seq += 1
    return outcome.ords
  }

  async load(node: NodeIdentity, owned: Owned): Promise<Loaded> {
    const [loaded] = await this.store.load(node, [owned.record.pid])
    return loaded ?? expect.fail('A load has one answer per process.')
  }

  async record(id: string): Promise<ProcessRecord> {
    return (await this.archive.process(this.namespace, id)) ?? expect.fail(`Process ${id} does not exist.`)
  }

  async mailbox(target: string): Promise<string[]> {
    return (await this.store.messages(this.namespace, target, 0, 1_000)).map((message) => message.id)
  }
}

export function claimRequest(key: string, options: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    id: `cart/${key}`,
    agent: 'cart',
    key,
    kind: 'agent',
    parent: null,
    stateVersion: 1,
    create: true,
    recreate: false,
    ...options,
  }
}

/** The next row of a process. */
export function row(owned: Owned, parts: Partial<Commit> = {}): Commit {
  return {
    process: owned.record.pid,
    id: owned.record.id,
    seq: owned.seq + 1,
    claim: owned.claim,
    meta: {
      stateVersion: 1,
      codeVersion: 'code 1',
      turnIds: [`${owned.record.id}.${owned.seq + 1}`],
      cause: null,
      root: null,
      traceparent: null,
      actor: null,
    },
    payload: '[]',
    ...parts,
  }
}

export function message(id: string, target: string, parts: Partial<NewMessage> = {}): NewMessage {
  return {
    id,
    target,
    kind: 'send',
    op: 'add',
    sender: null,
    n: 0,
    args: '{}',
    replyTo: null,
    cause: null,
    root: null,
    chain: [],
    traceparent: null,
    actor: null,
    deadline: null,
    timer: null,
    ...parts,
  }
}

/** A timer that is due. */
export function timer(owned: Owned, name: string, parts: Partial<NewTimer> = {}): NewTimer {
  return {
    process: owned.record.pid,
    target: owned.record.id,
    name,
    arm: 1,
    due: 1,
    op: 'tick',
    args: 'null',
    root: null,
    traceparent: null,
    ...parts,
  }
}

export const kinds = (outcomes: readonly { kind: string }[]): string[] => outcomes.map((outcome) => outcome.kind)
