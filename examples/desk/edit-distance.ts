/**
 * How many typing slips lie between two words: insert, delete, replace, or swap two neighbours, one each.
 */

/** Distance between `left` and `right`, or `limit + 1` as soon as it is known to be more than `limit`. */
export function editDistance(left: string, right: string, limit: number): number {
  if (Math.abs(left.length - right.length) > limit) return limit + 1
  let older: number[] = []
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1]
      let best = Math.min(
        at(previous, column) + 1,
        at(current, column - 1) + 1,
        at(previous, column - 1) + (same ? 0 : 1),
      )
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]) {
        best = Math.min(best, at(older, column - 2) + 1)
      }
      current.push(best)
    }
    if (Math.min(...current) > limit) return limit + 1
    older = previous
    previous = current
  }
  return at(previous, right.length)
}

/** Short words have too many neighbours ("house", "horse") to forgive a slip. */
const ONE_SLIP_LENGTH_MIN = 6
const TWO_SLIPS_LENGTH_MIN = 9

/** Whether `typed` can pass for `known`, both already stemmed. */
export function isSlipOf(typed: string, known: string): boolean {
  if (typed === known) return true
  const allowed = known.length >= TWO_SLIPS_LENGTH_MIN ? 2 : known.length >= ONE_SLIP_LENGTH_MIN ? 1 : 0
  // Nearly every slip leaves the first letter alone; words that differ there are other words ("kettle", "settle").
  return allowed > 0 && typed[0] === known[0] && editDistance(typed, known, allowed) <= allowed
}

function at(row: number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY
}
