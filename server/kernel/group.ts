/**
 * Process groups, as OTP's pg inside one kernel: named bags of processes.
 *
 * - K42: a process may join k times and is in the group until it left k times or died.
 * - K43: a monitor hears of every join and leave after its snapshot, deaths included, in order.
 */
import type { Process } from './process.ts'
import type { Holding } from './tie.ts'

export type GroupChange = { group: string; kind: 'join' | 'leave'; process: string }

export type GroupMonitor = { readonly group: string; readonly watcher: Process; readonly op: string }

/** Hands a change to a watcher as a message. */
export type TellWatcher = (monitor: GroupMonitor, change: GroupChange) => void

export class Groups implements Holding<Process> {
  readonly #tell: TellWatcher
  readonly #members = new Map<string, Process[]>()
  readonly #groups = new Map<Process, Set<string>>()
  readonly #monitors = new Map<string, Set<GroupMonitor>>()

  constructor(tell: TellWatcher) {
    this.#tell = tell
  }

  join(process: Process, group: string): void {
    if (!process.alive) return
    const members = this.#members.get(group)
    if (members === undefined) this.#members.set(group, [process])
    else members.push(process)
    const groups = this.#groups.get(process)
    if (groups === undefined) this.#groups.set(process, new Set([group]))
    else groups.add(group)
    this.#hold(process)
    this.#changed(group, 'join', process)
  }

  /** False when the process was not in the group. */
  leave(process: Process, group: string): boolean {
    const members = this.#members.get(group)
    const at = members?.indexOf(process) ?? -1
    if (members === undefined || at < 0) return false
    members.splice(at, 1)
    if (!members.includes(process)) this.#groups.get(process)?.delete(group)
    if (members.length === 0) this.#members.delete(group)
    this.#changed(group, 'leave', process)
    return true
  }

  /** In order of joining; a process that joined twice is listed twice. */
  members(group: string): Process[] {
    return this.#members.get(group)?.slice() ?? []
  }

  groups(): string[] {
    return [...this.#members.keys()]
  }

  /** From now on `watcher` gets a message `op` with a GroupChange for each change. */
  monitor(watcher: Process, group: string, op: string): { members: Process[]; monitor: GroupMonitor } {
    const monitor: GroupMonitor = { group, watcher, op }
    const monitors = this.#monitors.get(group)
    if (monitors === undefined) this.#monitors.set(group, new Set([monitor]))
    else monitors.add(monitor)
    this.#hold(watcher)
    return { members: this.members(group), monitor }
  }

  demonitor(monitor: GroupMonitor): void {
    const monitors = this.#monitors.get(monitor.group)
    monitors?.delete(monitor)
    if (monitors?.size === 0) this.#monitors.delete(monitor.group)
  }

  release(process: Process): void {
    for (const monitors of this.#monitors.values()) {
      for (const monitor of monitors) if (monitor.watcher === process) this.demonitor(monitor)
    }
    const groups = this.#groups.get(process)
    this.#groups.delete(process)
    for (const group of groups ?? []) while (this.leave(process, group));
  }

  #hold(process: Process): void {
    const tie = process.tie()
    tie.holdings ??= new Set()
    tie.holdings.add(this)
  }

  #changed(group: string, kind: 'join' | 'leave', process: Process): void {
    for (const monitor of this.#monitors.get(group) ?? []) this.#tell(monitor, { group, kind, process: process.id })
  }
}
