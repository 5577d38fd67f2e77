/** For the conformance tests' own vitest: their runner lies among the packages, where vitest looks for no tests. */
export default { test: { include: ['**/dist/test-runner.js'], exclude: [] } }
