/** A module that does not load. */
export function run(): void {}

throw new TypeError('no weights here')
