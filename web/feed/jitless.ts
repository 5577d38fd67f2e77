/**
 * Imported before anything that declares a schema: zod probes for `eval` when a schema is made, which a strict content
 * security policy forbids and reports. Whoever needs a schema imports this first, not the entry alone: the bundler may
 * put both into a chunk that runs before it.
 */
import { config } from 'zod'

config({ jitless: true })
