/**
 * The seam for a model: whatever stands here turns a customer's text into intents. Rules today. A model goes here as a
 * function of the same type; the concierge asks it in a step, so its answer is recorded and a crash does not ask twice.
 */
import type { Recognizer } from './intent.ts'
import { createRecognizer } from './recognize.ts'
import { products } from './shop.ts'

export const recognizer: Recognizer = createRecognizer(products)
