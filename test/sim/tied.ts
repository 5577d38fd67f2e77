/**
 * Actors that are tied to each other: they watch, link, hold names, spawn and end, and write down what they hear. The
 * state goes on over their lives; what belongs to one life says which.
 */
import { type AgentDefinition, agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { isRuntimeError } from '../../shared/error.ts'
import type { TiedOrder } from './tied-order.ts'
import type { Witness } from './witness.ts'

export type TiedState = {
  /** How often each order was carried out. */
  done: { [id: string]: number }
  /** By reference: whom it watches, the life that does, and whether it gave that up. */
  monitors: { [ref: string]: { of: string; life: number; cut: boolean } }
  /** How often each was heard of. */
  downs: { [ref: string]: number }
  /** Links of a life that neither were dissolved nor heard of, by peer. */
  links: { [peer: string]: number }
  /** How often the end of a peer's life was heard over a link, as `peer@life`, in which life of its own. */
  exits: { [end: string]: number }
  /** The life that took a name and did not free it. */
  names: { [name: string]: number }
  /** How often each spawned child reported. */
  children: { [key: string]: number }
  reported: boolean
}

type Ctx = Context<TiedState>
type Ops = {
  run(ctx: Ctx, order: TiedOrder): Promise<void>
  report(ctx: Ctx, report: { id: string }): void
}
export type TiedAgent = AgentDefinition<TiedState, Ops, { all(state: TiedState): TiedState }>

const ATTEMPTS_MAX = 8
const PASSIVATE_AFTER_MS = 800

/** @param witness  of the node that runs it */
export function tiedOf(witness: Witness): TiedAgent {
  const tied: TiedAgent = agent('tied', {
    state: (): TiedState => ({
      ...{ done: {}, monitors: {}, downs: {}, links: {}, exits: {}, names: {}, children: {}, reported: false },
    }),
    on: {
      async run(ctx, order: TiedOrder) {
        witness.begun(order.id)
        await carryOut(ctx, order, { witness, tied })
        count(ctx.state.done, order.id)
      },
      report: (ctx, { id }: { id: string }) => count(ctx.state.children, id),
    },
    activated(ctx) {
      ctx.trapExit(isTrapping(ctx.key))
      const parent = parentOf(ctx.key)
      if (parent === null || ctx.state.reported) return
      ctx.state.reported = true
      ctx.send(ctx.ref(tied, parent).report({ id: ctx.key }))
    },
    onDown(ctx, { ref, process, incarnation, reason }) {
      if (reason.kind !== 'noproc') witness.heardEnd(ctx.id, { process, life: incarnation })
      count(ctx.state.downs, ref)
    },
    onExit(ctx, { from, incarnation, reason }) {
      delete ctx.state.links[from]
      // Of what is not there one may hear as often as one links to it.
      if (reason.kind === 'noproc') return
      witness.heardEnd(ctx.id, { process: from, life: incarnation })
      count(ctx.state.exits, `${from}@${incarnation} in ${ctx.incarnation}`)
    },
    queries: { all: (state) => state },
    passivateAfterMs: PASSIVATE_AFTER_MS,
    maxAttempts: ATTEMPTS_MAX,
  })
  return tied
}

type Around = { readonly witness: Witness; readonly tied: TiedAgent }

async function carryOut(ctx: Ctx, order: TiedOrder, { witness, tied }: Around): Promise<void> {
  const { state } = ctx
  switch (order.kind) {
    case 'monitor':
      state.monitors[ctx.monitor(order.peer)] = { of: order.peer, life: ctx.incarnation, cut: false }
      return
    case 'link':
      ctx.link(order.peer)
      state.links[order.peer] = ctx.incarnation
      return
    case 'unlink':
      ctx.unlink(order.peer)
      delete state.links[order.peer]
      return
    case 'demonitor': {
      const isOpen = ([ref, { life, cut }]: [string, { life: number; cut: boolean }]): boolean =>
        life === ctx.incarnation && !cut && state.downs[ref] === undefined
      const [open] = Object.entries(state.monitors).find(isOpen) ?? []
      if (open === undefined) return
      ctx.demonitor(open)
      state.monitors[open] = { ...(state.monitors[open] as TiedState['monitors'][string]), cut: true } // it was found
      return
    }
    case 'take':
      try {
        await ctx.register(order.name)
        state.names[order.name] = ctx.incarnation
      } catch (error) {
        if (!isRuntimeError(error, 'NAME_TAKEN')) throw error
      }
      return
    case 'free':
      ctx.unregister(order.name)
      delete state.names[order.name]
      return
    case 'spawn':
      ctx.spawn(tied, childKey(ctx.key, order.id), { link: order.link, monitor: order.monitor })
      return
    case 'leave':
      return ctx.exit(order.how === 'error' ? { error: new Error('a planned end') } : order.how)
    case 'crash':
      if (witness.visit(`crash ${order.id}`) === 1) throw new Error('a planned crash')
      return
    case 'vain':
      ctx.monitor(order.peer)
      await ctx.step(order.id, () =>
        witness.ran(order.id, order.id, { actor: ctx.id, turn: ctx.message.id ?? '', before: [] }),
      )
      if (witness.visit(`vain ${order.id}`) === 1) throw new Error('a planned crash')
      return
    case 'step':
      await ctx.step(order.id, () => witness.pause(order.ms))
      return
    case 'nap':
      return ctx.sleep(order.ms)
    default:
      return order satisfies never
  }
}

export function isTrapping(key: string): boolean {
  return /[02468]$/.test(key)
}

export function childKey(parent: string, id: string): string {
  return `kid.${parent}.${id}`
}

function parentOf(key: string): string | null {
  return key.startsWith('kid.') ? (key.split('.')[1] ?? null) : null
}

function count(counts: { [name: string]: number }, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
