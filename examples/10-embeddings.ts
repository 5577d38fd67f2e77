/**
 * A local model: a shop finds what customers mean, not what they write. All agents share one thread with the weights,
 * which answers in batches; what was embedded once is state, and survives.
 *
 *   node examples/10-embeddings.ts
 */
import { agent, createRuntime, model, pool } from 'vivarium'

const embed = model<typeof import('./embedding.ts')>('embed', { module: new URL('./embedding.ts', import.meta.url) })

const shop = agent('shop', {
  state: () => ({ shelf: {} as Record<string, number[]> }),
  on: {
    async stock(ctx, names: string[]) {
      const fresh = names.filter((name) => ctx.state.shelf[name] === undefined)
      const vectors = await Promise.all(fresh.map((name) => ctx.infer(embed, name, { key: name })))
      for (const [i, name] of fresh.entries()) ctx.state.shelf[name] = vectors[i] ?? []
      return fresh.length
    },
    async find(ctx, wish: string) {
      const wanted = await ctx.infer(embed, wish)
      const near = Object.entries(ctx.state.shelf).map(([name, vector]) => ({ name, near: dot(wanted, vector) }))
      return near.toSorted((a, b) => b.near - a.near).slice(0, 2)
    },
  },
})

/** Embeddings have length 1: the product is how much two texts are about the same. */
function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0)
}

const SHELF = [
  ...['Coffee press', 'Hand coffee grinder', 'Dog lead', 'Dog bed', 'Toy train', 'Teddy bear', 'Wool gloves'],
  ...['Sleeping bag', 'Pocket torch', 'Cast iron teapot', 'Colouring pencils', 'Garden secateurs'],
]
const WISHES = [
  ...['a present for someone who loves espresso', 'somewhere for a puppy to sleep'],
  ...['for a toddler to play with', 'my fingers are freezing'],
]

const data = process.argv[2]
const runtime = await createRuntime({ root: pool(shop), ...(data === undefined ? {} : { data }) })
const main = runtime.ref(shop, 'main')
console.log(`${await main.stock(SHELF)} products embedded`)
for (const wish of WISHES) {
  const found = await main.find(wish)
  console.log(`${wish}: ${found.map(({ name, near }) => `${name} (${near.toFixed(2)})`).join(', ')}`)
}
await runtime.stop()
