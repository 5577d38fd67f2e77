/** Children that close with their parent, on the memory store, under virtual time. */
import { childScenarios } from '../support/child-scenario.ts'
import { World } from '../support/runtime.ts'

childScenarios('memory', () => World.memory())
