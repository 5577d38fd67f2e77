/**
 * `radio/main`: where the vans said they are. Ephemeral: in memory only, fast, and lost when it crashes, which is fine,
 * because the vans say it again. Under `delivery` (one_for_all) its crash restarts the vans with it.
 */
import { agent } from 'vivarium'

export type RadioState = { heard: number; positions: Record<string, string> }

export const radio = agent('radio', {
  durability: 'ephemeral',
  state: (): RadioState => ({ heard: 0, positions: {} }),

  on: {
    report(ctx, { courier, position }: { courier: string; position: string }): void {
      ctx.state.heard += 1
      ctx.state.positions[courier] = position
    },

    /** What the gremlin says. Nobody can listen to it. */
    noise(): void {
      throw new Error('Radio: nothing but noise on every channel')
    },
  },

  queries: {
    positions: (state) => state.positions,
  },
})
