/**
 * An operator at work: cases of a few verbs each, on processes of their own (hospital.ts). What was asked for and
 * answered stands on disk (case.ts) before anything else happens.
 *
 * - A successor brings what its predecessors left to its end without asking for any mending again: what was not
 *   answered happened whole or not at all, and a checker says which.
 * - Copies are brought to their end by answers, and half of them are discarded.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Runtime, RuntimeError, type Value } from 'vivarium'
import { CASES, type CaseFact, type CaseKind, caseFile, readCases, writeCase } from './case.ts'
import { crier, patient, type WardState, ward } from './hospital.ts'

type OperatorOptions = { runtime: Runtime; facts: string; run: string }

/** Cases at once. */
const WORKERS = 3
/** Ms between two cases of a worker: the load beside them shall not wait for operators. */
const PAUSE_MS = 60
/** Ms between two looks at a process, and until it must have come to where it is looked for. */
const LOOK_MS = 15
const LOOK_MAX_MS = 45_000
/** Criers whose streams are pruned while somebody writes and somebody reads. */
const CRIERS = ['c0', 'c1']
const ACTOR = 'operator:crash'
/** Of a call without a row: as patient as the load's. */
const PATIENT = { timeoutMs: 60_000 }
/** Refusals of a runtime on its way down. */
const GOING = new Set(['NODE_DRAINING', 'RUNTIME_STOPPED'])

export class Operator {
  readonly #options: OperatorOptions
  readonly #file: string
  readonly #reading = new AbortController()
  /** Another one in each life, so that a short one has what the one before did not come to. */
  readonly #first: number
  #begun = 0
  /** Messages and answers that it gave, so that each is told from the others. */
  #visits = 0
  #stopped = false

  constructor(options: OperatorOptions) {
    this.#options = options
    this.#file = caseFile(options.facts)
    this.#first = 3 * Number(options.run.slice(1))
  }

  /** Resolves when every worker has ended. */
  async run(): Promise<void> {
    for (const key of CRIERS) void this.#guarded(key, () => this.#listen(key))
    const left = this.finish() // what it looks for was there before the workers
    await Promise.all([left, ...Array.from({ length: WORKERS }, () => this.#work())])
  }

  stop(): void {
    this.#stopped = true
    this.#reading.abort()
  }

  /** Brings what earlier children left to its end. */
  async finish(): Promise<void> {
    const open = [...readCases(this.#file).cases.values()].filter(({ over }) => !over)
    await Promise.all(open.map(({ id, of }) => this.#guarded(id, () => this.#settle(id, of))))
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      const of = CASES[(this.#begun + this.#first) % CASES.length] ?? 'edit'
      this.#begun += 1
      const id = `${this.#options.run}-c${this.#begun}`
      this.#say({ f: 'case', id, of })
      await this.#guarded(id, () => this.#perform(id, of))
      await pause(PAUSE_MS)
    }
  }

  async #guarded(id: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (this.#stopped || (error instanceof RuntimeError && GOING.has(error.code))) return
      this.#say({ f: 'failed', id, why: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  }

  async #perform(id: string, of: CaseKind): Promise<void> {
    switch (of) {
      case 'edit':
        await this.#edit(id)
        break
      case 'move':
      case 'swap':
        await this.#carry(id, of)
        break
      case 'cry':
        await this.#settle(id, of)
        return
      default:
        await this.#mend(id, of)
    }
    await this.#settle(id, of)
  }

  /** E2, E3. */
  async #edit(id: string): Promise<void> {
    const { inspect, control } = this.#options.runtime
    const process = `ward/${id}`
    await this.#note(id, 'a')
    const { version, value } = await inspect.state(process)
    const edited = { ...(value as WardState), text: 'edited' } // ward's own state
    await this.#act(id, 'edit', (act) => control.editState(process, edited, { ...act, expectedVersion: version }))
    await this.#note(id, 'b')
    await this.#act(id, 'rewind', (act) => control.rewind(process, version, act))
    await this.#note(id, 'c')
  }

  /** G8: under another id, or in its own place. */
  async #carry(id: string, of: 'move' | 'swap'): Promise<void> {
    const { inspect, control } = this.#options.runtime
    const process = `ward/${id}`
    for (const note of ['a', 'b']) await this.#note(id, note)
    const file = await inspect.exportProcess(process)
    if (of === 'move') {
      await this.#act(id, 'import', (act) => control.importProcess(file, { ...act, as: `${process}-m` }))
      await this.#note(id, 'c', `${id}-m`)
      return
    }
    await this.#note(id, 'c')
    // It may come back for a moment between the look and the import, which then says so.
    let code: string | null = 'PROCESS_EXISTS'
    for (let n = 1; code === 'PROCESS_EXISTS'; n++) {
      await this.#until(`${process} is passive`, async () => (await inspect.process(process))?.status === 'passive')
      code = await this.#try(id, `replace ${n}`, (act) => control.importProcess(file, { ...act, replace: true }))
    }
    if (code !== null) throw new Error(`The import of ${process} was refused: ${code}`)
    await this.#note(id, 'd')
  }

  /** E4, E5, E8 to E12. */
  async #mend(id: string, of: 'retry' | 'scratch' | 'skip' | 'drop' | 'fork' | 'keep'): Promise<void> {
    const { control } = this.#options.runtime
    const process = `patient/${id}`
    const message = await this.#treat(id, id)
    await this.#waitsFor(process, 'go')
    if (of === 'skip') await this.#act(id, 'skip', (act) => control.skipMessage(process, { ...act, message }))
    if (of === 'drop') {
      const second = await this.#treat(id, `${id}b`)
      await this.#act(id, 'skip', (act) => control.skipMessage(process, { ...act, message: second }))
    }
    if (of === 'retry' || of === 'scratch') {
      await this.#visit(id, process, 'go')
      await this.#waitsFor(process, 'leave')
      const from = of === 'retry' ? { step: 2 } : {}
      await this.#act(id, of, (act) => control.retryTurn(process, { ...act, ...from }))
      await this.#waitsFor(process, 'leave')
    }
    if (of === 'fork' || of === 'keep') {
      await this.#act(id, 'fork', (act) => control.fork(process, { ...act, as: `${process}-f` }))
      await this.#endCopy(id)
    }
  }

  /** To where nothing of the case waits for anything any more. */
  async #settle(id: string, of: CaseKind): Promise<void> {
    const { runtime } = this.#options
    if (of === 'cry') {
      const key = CRIERS[Number(id.at(-1)) % CRIERS.length] ?? 'c0'
      await (await runtime.start(crier, key, 'cry', { id }, { idempotencyKey: id })).result()
    } else if (of !== 'edit' && of !== 'move' && of !== 'swap') {
      if (of === 'fork' || of === 'keep') await this.#endCopy(id)
      if (of === 'fork') await this.#discard(id)
      await this.#endTreatments(id, of)
    }
    this.#say({ f: 'over', id })
  }

  async #endTreatments(id: string, of: CaseKind): Promise<void> {
    const { runtime } = this.#options
    const treatments = of === 'drop' ? [id, `${id}b`] : [id]
    for (const treatment of treatments) {
      const handle = await runtime.start(patient, id, 'treat', { id: treatment }, { idempotencyKey: treatment })
      for (const op of ['go', 'leave'] as const) await this.#visit(id, `patient/${id}`, op)
      await handle.result().catch((error: unknown) => {
        if (!(error instanceof RuntimeError && error.code === 'DEAD_LETTERED')) throw error
      })
    }
  }

  /** Gives a copy what it waits for, until it waits for nothing. */
  async #endCopy(id: string): Promise<void> {
    const { inspect } = this.#options.runtime
    const copy = `patient/${id}-f`
    if ((await inspect.process(copy)) === null) return
    for (const op of ['go', 'leave'] as const) await this.#visit(id, copy, op)
    for (;;) {
      let wait: string | null = null
      await this.#until(`${copy} waits for an answer or for nothing`, async () => {
        const [row, { value }] = await Promise.all([inspect.process(copy), inspect.state(copy)])
        wait = row?.wait?.kind === 'sandbox' ? (row.wait.target ?? '') : null
        return wait !== null || (value as WardState).done[`treat ${id}`] !== undefined // each state counts its deeds
      })
      if (wait === null) return
      this.#visits += 1
      const value = `${this.#options.run} ${this.#visits}`
      await Promise.all(['x', 'y'].map((rival) => this.#answer(id, copy, `${value} ${rival}`)))
    }
  }

  async #answer(id: string, copy: string, value: string): Promise<void> {
    const { control } = this.#options.runtime
    const code = await this.#try(id, `answer ${value}`, (act) => control.answer(copy, { value }, act), value)
    if (code !== null && code !== 'NOT_FOUND') throw new Error(`The answer to ${copy} was refused: ${code}`)
  }

  async #discard(id: string): Promise<void> {
    const { control, inspect } = this.#options.runtime
    const copy = `patient/${id}-f`
    if ((await inspect.process(copy)) === null) return
    await this.#act(id, 'discard', (act) => control.discard(copy, act))
  }

  async #treat(id: string, treatment: string): Promise<string> {
    const { runtime } = this.#options
    const start = { idempotencyKey: treatment }
    const { messageId } = await runtime.start(patient, id, 'treat', { id: treatment }, start)
    return messageId
  }

  async #visit(id: string, process: string, op: 'go' | 'leave'): Promise<void> {
    const { control } = this.#options.runtime
    this.#visits += 1
    const ask = `${this.#options.run} ${op} ${this.#visits}`
    await control.send(process, op, { id, ask }, { actor: ACTOR })
    this.#say({ f: 'sent', id, process, ask })
  }

  /** A call without a row, so that nothing but its answer says that it happened. */
  async #note(id: string, note: string, key = id): Promise<void> {
    const { runtime } = this.#options
    await this.#act(id, `note ${note}`, () => runtime.ref(ward, key).note({ id: note }).run(PATIENT))
  }

  #waitsFor(process: string, op: string): Promise<void> {
    const { inspect } = this.#options.runtime
    return this.#until(`${process} waits for ${op}`, async () => {
      const wait = (await inspect.process(process))?.wait
      return wait?.kind === 'receive' && wait.target === op
    })
  }

  async #until(what: string, test: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + LOOK_MAX_MS
    while (!(await test())) {
      if (performance.now() > deadline) throw new Error(`Not in ${LOOK_MAX_MS} ms: ${what}.`)
      await pause(LOOK_MS)
    }
  }

  async #act(id: string, verb: string, ask: (act: Said) => Promise<unknown>): Promise<void> {
    const code = await this.#try(id, verb, ask)
    if (code !== null) throw new Error(`${verb} of ${id} was refused: ${code}`)
  }

  /** The code of its refusal; null when it was done. */
  async #try(id: string, verb: string, ask: (act: Said) => Promise<unknown>, value?: string): Promise<string | null> {
    this.#say({ f: 'act', id, verb })
    try {
      await ask({ actor: ACTOR, reason: `${id} ${verb}` })
    } catch (error) {
      if (!(error instanceof RuntimeError) || GOING.has(error.code)) throw error
      this.#say({ f: 'refused', id, verb, code: error.code })
      return error.code
    }
    this.#say({ f: 'acted', id, verb, ...(value === undefined ? {} : { value }) })
    return null
  }

  /** From where an earlier reader stopped, on over gaps. */
  async #listen(key: string): Promise<void> {
    const { runtime, run } = this.#options
    const { signal } = this.#reading
    let from = 1 + readCases(this.#file).heard.reduce((last, fact) => lastOf(last, fact, key), -1)
    while (!this.#stopped) {
      try {
        for await (const { offset, turn, ...item } of runtime.stream(`crier/${key}`, 'news', { from, signal })) {
          const what = item.kind === 'reset' ? `reset ${item.to}` : 'chunk'
          const n = item.kind === 'reset' ? -1 : numberOf(item.value)
          this.#say({ f: 'heard', run, key, offset, turn, n, what })
          from = offset + 1
        }
      } catch (error) {
        if (!(error instanceof RuntimeError && error.code === 'STREAM_GAP')) throw error
        const floor = Number(error.detail['floor'])
        this.#say({ f: 'gap', run, key, from, floor })
        from = floor
      }
    }
  }

  #say(fact: CaseFact): void {
    writeCase(this.#file, fact)
  }
}

type Said = { actor: string; reason: string }

function lastOf(last: number, fact: Extract<CaseFact, { f: 'heard' | 'gap' }>, key: string): number {
  if (fact.key !== key) return last
  return Math.max(last, fact.f === 'gap' ? fact.floor - 1 : fact.offset)
}

function numberOf(value: unknown): number {
  return (value as { n: number } & Record<string, Value>).n // as crier writes them
}
