#!/usr/bin/env node
/** Entry of the command line `viv`; what it does is in program.ts. */

/** Older versions lack what the rest is written with, and would fail on a syntax error that names no cause. */
const NODE_MAJOR_MIN = 24

const [major] = process.versions.node.split('.').map(Number)
if (major === undefined || major < NODE_MAJOR_MIN) {
  console.error(`viv: Node ${NODE_MAJOR_MIN} or later is needed, this is ${process.version}. Install a newer Node.`)
  process.exitCode = 1
} else {
  const { runProgram } = await import('./program.ts')
  process.exitCode = await runProgram(process.argv.slice(2), { print: console.log, complain: console.error })
}
