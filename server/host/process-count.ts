/** What the metrics count of processes: each once, in no promised order. */
import type { Kernel } from '../kernel/kernel.ts'
import { statusOf } from '../kernel/row.ts'
import type { Counted } from '../observe/metrics.ts'

export function countProcesses(kernel: Kernel, visit: (row: Counted) => void): void {
  for (const process of kernel.all()) {
    const { agent, mailboxLength, hidden } = process
    visit({ agent, status: statusOf(process), mailbox: mailboxLength, hidden })
  }
}
