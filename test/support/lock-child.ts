/** Takes a lock, says so, and holds it until it is killed. */
import { realClock } from '../../server/clock.ts'
import { withLock } from '../../server/store/embedded/lock.ts'
import { clockPause } from '../../server/store/embedded/pause.ts'

await withLock(process.argv[2] ?? '', clockPause(realClock()), async () => {
  process.send?.('held')
  await new Promise(() => process.on('message', () => undefined))
})
