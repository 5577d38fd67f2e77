/** The store contract on memory. */
import { realClock } from '../../server/clock.ts'
import { MemoryDatabase, openMemory } from '../../server/store/memory.ts'
import { agingMemory } from '../support/aging-world.ts'
import { archiveContract } from '../support/store-contract/archive.ts'
import { blobContract } from '../support/store-contract/blob.ts'
import { claimContract } from '../support/store-contract/claim.ts'
import { commitContract } from '../support/store-contract/commit.ts'
import { discardContract } from '../support/store-contract/discard.ts'
import { messageContract } from '../support/store-contract/message.ts'
import { processFileContract } from '../support/store-contract/process-file.ts'
import { retentionContract } from '../support/store-contract/retention.ts'
import { streamContract } from '../support/store-contract/stream.ts'
import { symptomContract } from '../support/store-contract/symptom.ts'
import { tieContract } from '../support/store-contract/tie.ts'
import type { StoreWorld } from '../support/store-world.ts'

const database = new MemoryDatabase(realClock())
const world: StoreWorld = { name: 'memory', handle: () => openMemory(database) }

commitContract(world)
claimContract(world)
messageContract(world)
archiveContract(world)
tieContract(world)
blobContract(world)
streamContract(world)
processFileContract(world)
discardContract(world)
symptomContract(agingMemory(world, database))
retentionContract(agingMemory(world, database))
