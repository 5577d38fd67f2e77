/**
 * Imported before anything that declares a schema: zod probes for `eval` when a schema is made, which a strict content
 * security policy forbids and reports.
 */
import { config } from 'zod'

config({ jitless: true })
