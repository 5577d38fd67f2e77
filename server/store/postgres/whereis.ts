/** The holder of a name, by the primary key. */
import type { Context } from './context.ts'

export async function whereis({ read, q }: Context, namespace: string, name: string): Promise<string | null> {
  const [row] = await read.unsafe<{ process: string }[]>(
    `select process from ${q}names where namespace = $1::text and name = $2::text`,
    [namespace, name],
    { prepare: true },
  )
  return row?.process ?? null
}
