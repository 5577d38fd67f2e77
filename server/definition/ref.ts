/**
 * References: typed proxies of processes. Making one costs an object, sends nothing and wakes nobody.
 *
 * One class per agent definition is generated once, with a method per operation: a Proxy would cost more per call
 * than the rest of an in-memory call together.
 */
import { assertKey, type ProcessId, processId } from '../../shared/id.ts'
import type { AgentDefinition, AnyAgent, Handlers, Queries } from './agent.ts'
import { Call, type Caller } from './call.ts'

type Message<F> = F extends (ctx: never, ...rest: infer R) => unknown ? R : never
type Result<F> = F extends (...all: never[]) => infer R ? Awaited<R> : never
type Op<F> = (...message: Message<F>) => Call<Result<F> extends void ? null : Result<F>>

type Ops<On, Q> = { readonly [K in keyof On]: Op<On[K]> } & { readonly [K in keyof Q]: Op<Q[K]> }

export type Ref<D> =
  D extends AgentDefinition<infer _S, infer On, infer Q>
    ? Ops<On, Q> & { readonly [REF]: { readonly id: ProcessId } }
    : never

/** The id and the caller of a reference stand under a symbol, so that every string is free for operations. */
export const REF: unique symbol = Symbol.for('vivarium.ref')

type RefState = { readonly id: ProcessId; readonly agent: string; readonly key: string; readonly caller: Caller }

type RefClass = new (state: RefState) => object

const CLASSES = new WeakMap<AnyAgent, RefClass>()

export function makeRef<D extends AnyAgent>(definition: D, key: string, caller: Caller): Ref<D> {
  assertKey(key)
  let make = CLASSES.get(definition)
  if (make === undefined) {
    make = generate(definition)
    CLASSES.set(definition, make)
  }
  const state: RefState = { id: processId(definition.name, key), agent: definition.name, key, caller }
  return new make(state) as Ref<D> // the class was generated from the very keys the type is computed from
}

export function refId(ref: { readonly [REF]: { readonly id: ProcessId } }): ProcessId {
  return ref[REF].id
}

function generate(definition: AnyAgent): RefClass {
  class GeneratedRef {
    readonly [REF]: RefState
    constructor(state: RefState) {
      this[REF] = state
    }
  }
  const ops: Iterable<string> = [...Object.keys(definition.on), ...Object.keys(definition.queries)]
  for (const op of ops) {
    Object.defineProperty(GeneratedRef.prototype, op, {
      value(this: GeneratedRef, message: unknown): Call<unknown> {
        const state = this[REF]
        return new Call(state.caller, state, op, message)
      },
    })
  }
  return GeneratedRef
}

export type { Handlers, Queries }
