/** What comes in from outside: the command line and inbox files, good and bad. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readPiece } from '../../examples/desk/inbox-file.ts'
import { readOptions } from '../../examples/desk/option.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vivarium-desk-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function inbox(text: string): Promise<string> {
  const path = join(folder, 'inbox.jsonl')
  await writeFile(path, text)
  return path
}

const line = (n: number, text = `text ${n}`) => JSON.stringify({ n, customer: 'ana', text })
const START = { offset: 0, line: 0 }

describe('inbox file', () => {
  test('a cursor goes through it piece by piece and misses nothing', async () => {
    const path = await inbox(`${[1, 2, 3, 4, 5].map((n) => line(n, `“quoted” ${n} ☃`)).join('\n')}\n`)
    const seen: number[] = []
    let from = START
    for (let end = false; !end; ) {
      const piece = await readPiece(path, from, 2)
      seen.push(...piece.lines.map(({ n }) => n))
      from = { offset: piece.offset, line: piece.line }
      end = piece.end
    }
    expect(seen).toEqual([1, 2, 3, 4, 5])
  })

  test('the last line needs no newline', async () => {
    const piece = await readPiece(await inbox(`${line(1)}\n${line(2)}`), START, 100)
    expect(piece).toMatchObject({ end: true, line: 2, lines: [{ n: 1 }, { n: 2 }] })
  })

  test('an empty file is at its end', async () => {
    expect(await readPiece(await inbox(''), START, 10)).toMatchObject({ lines: [], end: true, offset: 0 })
  })

  test('a line that is no request is refused with its number and reason; the others are taken', async () => {
    const bad = ['{"n":1', '{"n":0,"customer":"ana","text":"x"}', '{"n":3,"customer":"Ana!","text":"x"}', '[]']
    const piece = await readPiece(await inbox(`${[...bad, '', line(9)].join('\n')}\n`), START, 100)
    expect(piece.lines).toEqual([{ n: 9, customer: 'ana', text: 'text 9' }])
    expect(piece.refused.map(({ line: at }) => at)).toEqual([1, 2, 3, 4])
    expect(piece.refused[1]?.reason).toMatch(/^n: /)
    expect(piece.refused[2]?.reason).toMatch(/^customer: /)
  })

  test('a line longer than a piece is an error, not an endless loop', async () => {
    const path = await inbox(line(1, 'x'.repeat(300_000)))
    await expect(readPiece(path, START, 10)).rejects.toThrow('Line 1 of the inbox is longer than 262144 bytes')
  })
})

describe('command line', () => {
  test('defaults', () => {
    expect(readOptions([])).toEqual({
      ...{ port: 4711, host: '127.0.0.1', data: null, inbox: null, ratePerSecond: 5, chaos: false },
      shipAfterMs: 12_400,
    })
  })

  test('shipping waits for the changes that come within twelve requests', () => {
    expect(readOptions(['--rate', '1'])?.shipAfterMs).toBe(22_000)
    expect(readOptions(['--rate', '1', '--ship-after', '0'])?.shipAfterMs).toBe(0)
  })

  test('paths are made absolute, - stays standard input', () => {
    expect(readOptions(['--data', 'd', '--inbox', 'x.jsonl'])).toMatchObject({
      data: resolve('d'),
      inbox: resolve('x.jsonl'),
    })
    expect(readOptions(['--inbox', '-', '--chaos'])).toMatchObject({ inbox: '-', chaos: true })
  })

  test('what cannot be is refused by name', () => {
    expect(() => readOptions(['--port', '70000'])).toThrow('--port is "70000". It takes a number from 0 to 65535.')
    expect(() => readOptions(['--port', '1.5'])).toThrow('--port is "1.5". It takes a whole number.')
    expect(() => readOptions(['--rate', 'fast'])).toThrow('--rate is "fast"')
    expect(() => readOptions(['--rate', ''])).toThrow('--rate is ""')
    expect(() => readOptions(['--colour'])).toThrow('--colour')
    expect(readOptions(['--help'])).toBeNull()
  })
})
