/** Loads the SDK (sdk.ts) only for a program that exports something. */
import type { Exporting, ExportRequest } from './sdk.ts'

export type { Exporting } from './sdk.ts'

/** null when nothing is asked for. */
export async function startExport(request: ExportRequest | null): Promise<Exporting | null> {
  if (request === null) return null
  const { startSdk } = await import('./sdk.ts')
  return startSdk(request)
}
