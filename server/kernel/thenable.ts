/** Whether a handler goes on after it returned: whatever can be awaited counts, whoever made it. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'then') === 'function'
}
