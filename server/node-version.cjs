// Run first by every npm script. It refuses a Node that cannot run the sources as they are and names the cause, because
// the error of an old Node ("Unknown file extension .ts") does not. Plain ES5 and CommonJS: it has to start on old Nodes.
'use strict'

// package.json "engines" says the same; Node 24 is the oldest line that strips types and has every API used here.
var NODE_MAJOR_MIN = 24

var major = Number(process.versions.node.split('.')[0])
if (major < NODE_MAJOR_MIN) {
  console.error(
    'vivarium needs Node >= ' +
      NODE_MAJOR_MIN +
      ', this is ' +
      process.version +
      ' at ' +
      process.execPath +
      '.\n' +
      'Run `npm ci` and then the npm script (`npm start`, `npm test`): npm puts node_modules/.bin/node, Node 26, first.\n' +
      'If that file is missing, install scripts were off: run `npm rebuild node`, or install Node ' +
      NODE_MAJOR_MIN +
      ' or later.',
  )
  process.exit(1)
}
