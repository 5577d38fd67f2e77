/** A file that another command wrote and this one is given. */
import { readFile } from 'node:fs/promises'
import { usage } from './outcome.ts'

/** @param wanted  what to name instead  @throws CliError */
export async function readJsonFile(path: string, wanted: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw usage(`${path} cannot be read (${error instanceof Error ? error.message : error}). Name ${wanted}.`)
  }
}
