/** A model without `load`, with an output too few. */
export function run(inputs: readonly string[]): string[] {
  return inputs.slice(1)
}
