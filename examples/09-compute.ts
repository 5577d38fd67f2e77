/**
 * CPU work: an agent that counts primes and one that searches without end, on threads, while a clock beside them keeps
 * its pace.
 *
 *   node examples/09-compute.ts
 */
import { agent, computeModule, createRuntime, pool, supervisor } from 'vivarium'

const prime = computeModule<typeof import('./prime.ts')>(new URL('./prime.ts', import.meta.url))

const mathematician = agent('mathematician', {
  state: () => ({ primes: 0 }),
  on: {
    async count(ctx, below: number) {
      ctx.state.primes = await ctx.task(prime, 'countPrimes', [below]).result() // recorded: never counted twice
      return ctx.state.primes
    },
    async search(ctx) {
      const search = ctx.task(prime, 'refuteGoldbach', [], { timeoutMs: 500 })
      return search.result().catch((error: Error) => error.message) // ended in the middle of its loop
    },
  },
})

const metronome = agent('metronome', {
  durability: 'ephemeral',
  state: () => ({ beats: 0 }),
  on: { beat: (ctx) => ++ctx.state.beats },
})

const data = process.argv[2]
const root = supervisor('study', { strategy: 'one_for_one', children: [pool(mathematician), pool(metronome)] })
const runtime = await createRuntime({ root, ...(data === undefined ? {} : { data }), compute: { threads: 2 } })

const counted = runtime.ref(mathematician, 'euler').count(1_000_000).run()
const searched = runtime.ref(mathematician, 'goldbach').search().run()
let latest = 0
const beating = setInterval(async () => {
  const due = performance.now()
  await runtime.ref(metronome, 'study').beat()
  latest = Math.max(latest, performance.now() - due)
}, 20)

console.log(`${await counted} primes below a million`)
console.log(await searched)
clearInterval(beating)
console.log(`meanwhile the slowest beat took ${latest.toFixed(1)} ms`)
await runtime.stop()
