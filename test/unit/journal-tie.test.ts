/** Links, monitors and names of durable processes on the memory store, under virtual time. */
import { World } from '../support/runtime.ts'
import { tieScenarios } from '../support/tie-scenario.ts'

tieScenarios('memory', () => World.memory())
