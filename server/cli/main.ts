#!/usr/bin/env node
/** Entry of the command line `viv`; what it does is in program.ts. */
import { runProgram } from './program.ts'

process.exitCode = await runProgram(process.argv.slice(2), { print: console.log, complain: console.error })
