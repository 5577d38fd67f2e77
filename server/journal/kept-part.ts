/**
 * Parts that no turn runs again for: what must be said of a process goes out whatever becomes of the row it was in.
 *
 * - Where that row is refused because of a neighbour, a kept part leaves with the next one (refusal.ts).
 */
import type { DurablePorts } from './port.ts'
import type { DurableRecord, Part } from './record.ts'

type Ports = Pick<DurablePorts, 'committer'>

export function keepPart(ports: Ports, record: DurableRecord, what: Partial<Part>): void {
  record.append({ entries: [], turn: null, lineage: null, settle: nobody, ...what, keep: true })
  ports.committer.wake(record)
}

/** Resolves once this, and everything the record held before, is stored or void. */
export function storePart(ports: Ports, record: DurableRecord, what: Omit<Partial<Part>, 'settle'>): Promise<void> {
  return new Promise((resolve) => keepPart(ports, record, { ...what, settle: () => resolve() }))
}

function nobody(): void {}
