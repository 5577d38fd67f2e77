/** The CPU work of 09-compute.ts: exported functions of plain values, run by threads. */

export function countPrimes(below: number): number {
  let count = 0
  for (let n = 2; n < below; n++) if (isPrime(n)) count += 1
  return count
}

/** Never comes back: the least even number above 2 that is no sum of two primes is not known to exist. */
export function refuteGoldbach(): number {
  for (let n = 4; ; n += 2) {
    let found = false
    for (let p = 2; p <= n / 2 && !found; p++) found = isPrime(p) && isPrime(n - p)
    if (!found) return n
  }
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
  return n > 1
}
