/** Takes a lock, says so, and holds it until it is killed. */
import { realPause } from '../../server/store/embedded/pause.ts'
import { withLock } from '../../server/store/embedded/lock.ts'

await withLock(process.argv[2] ?? '', realPause(), async () => {
  process.send?.('held')
  await new Promise(() => process.on('message', () => undefined))
})
