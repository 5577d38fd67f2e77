/** What an action would do, asked from the server before anything is done. */
import { useEffect, useState } from 'react'
import type { Problem, Verb } from '../../shared/frame.ts'
import type { BlastRadius } from '../../shared/snapshot.ts'
import { toProblem } from '../feed/client.ts'
import { useConnection, useFeed } from '../feed/hooks.ts'
import { plural } from '../ui/quantity.ts'
import { ProcessName } from './process-name.tsx'

type Plan = { kind: 'asking' } | { kind: 'known'; plan: BlastRadius } | { kind: 'refused'; problem: Problem }

/** Affected processes named one by one; the rest is counted. */
const NAMED_MAX = 8

const EFFECT_TITLE = {
  restarts: 'Restart with it',
  stops: 'Stop with it',
  redelivers: 'Get a message again',
  cancels: 'Cancelled with it',
  waits: 'Waited for',
  unaffected: 'Go on untouched',
} as const

/** Verbs of which a caller hears nothing. */
const NOBODY_HEARS: ReadonlySet<string> = new Set(['fork', 'answer'])

type BlastRadiusViewProps = { verb: Verb; target: string; incarnation: number }

export function BlastRadiusView({ verb, target, incarnation }: BlastRadiusViewProps) {
  const feed = useFeed()
  const connected = useConnection().kind === 'live'
  const [plan, setPlan] = useState<Plan>({ kind: 'asking' })
  // biome-ignore lint/correctness/useExhaustiveDependencies: another incarnation needs another plan
  useEffect(() => {
    let live = true
    if (!connected) return
    feed.plan(verb, target).then(
      (answer) => live && setPlan({ kind: 'known', plan: answer as BlastRadius }), // the grammar of `plan`
      (thrown: unknown) => live && setPlan({ kind: 'refused', problem: toProblem(thrown) }),
    )
    return () => {
      live = false
    }
  }, [feed, verb, target, incarnation, connected])
  return (
    <section className="blast" aria-label="What this will do" aria-busy={plan.kind === 'asking'}>
      {plan.kind === 'asking' ? <p className="dim">Asking the server what this would do…</p> : null}
      {plan.kind === 'refused' ? <p className="complaint">{plan.problem.detail}</p> : null}
      {plan.kind === 'known' ? <Known plan={plan.plan} /> : null}
    </section>
  )
}

function Known({ plan }: { plan: BlastRadius }) {
  return (
    <dl className="facts blast-facts">
      <dt>Message in hand</dt>
      <dd>{plan.message}</dd>
      <dt>Queue</dt>
      <dd>{plan.queue}</dd>
      {plan.callers.length === 0 && NOBODY_HEARS.has(plan.verb) ? null : (
        <>
          <dt>Waiting callers</dt>
          <dd>{plan.callers.length === 0 ? 'none' : <Names ids={plan.callers} />}</dd>
        </>
      )}
      {plan.budget === null ? null : (
        <>
          <dt>Restart budget</dt>
          <dd>{plan.budget}</dd>
        </>
      )}
      {(['restarts', 'stops', 'cancels', 'waits', 'redelivers', 'unaffected'] as const).map((effect) => (
        <Affected
          key={effect}
          target={plan.target}
          effect={effect}
          affected={plan.affected.filter((each) => each.effect === effect)}
        />
      ))}
    </dl>
  )
}

type AffectedProps = { target: string; effect: keyof typeof EFFECT_TITLE; affected: BlastRadius['affected'] }

function Affected({ target, effect, affected }: AffectedProps) {
  const first = affected[0]
  if (first === undefined) return null
  return (
    <>
      <dt>{EFFECT_TITLE[effect]}</dt>
      <dd className={effect === 'unaffected' ? 'dim' : `effect-${effect}`}>
        {effect === 'unaffected' && first.id === target ? null : effect === 'unaffected' ? (
          plural(affected.length, 'process', 'processes')
        ) : (
          <Names ids={affected.map((a) => a.id)} />
        )}
        <span className="dim"> · {first.why}</span>
      </dd>
    </>
  )
}

function Names({ ids }: { ids: readonly string[] }) {
  const rest = ids.length - NAMED_MAX
  return (
    <span className="names">
      {ids.slice(0, NAMED_MAX).map((id) => (
        <ProcessName key={id} id={id} />
      ))}
      {rest > 0 ? <span>and {plural(rest, 'more', 'more')}</span> : null}
    </span>
  )
}
