/** What nodes say that a state is equals, byte for byte, what the rows of the store make of it (T6). */
/** @param live  by `id on node` */
export function checkStates(stored: ReadonlyMap<string, unknown>, live: ReadonlyMap<string, unknown>): string[] {
  const found: string[] = []
  for (const [place, state] of live) {
    const id = place.slice(0, place.indexOf(' '))
    if (JSON.stringify(state) !== JSON.stringify(stored.get(id))) found.push(`state: ${place} is not what is stored`)
  }
  return found
}
