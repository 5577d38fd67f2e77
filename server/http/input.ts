/**
 * What an address says, as text: query parameters one by one, and what no store can hold is refused for all routes.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { RuntimeError } from '../../shared/error.ts'

/** NUL has no place in a text of Postgres; ids have no control character at all (shared/id.ts). */
const UNFIT = /[\u0000-\u001f\u007f]/
/** The same without tab and line breaks: they part the words of a query. */
const UNFIT_QUERY = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/

/** Every parameter once, by name. @throws REQUEST_INVALID for one that is repeated */
export function queryOf(context: Context): Record<string, string> {
  const query: Record<string, string> = {}
  for (const [name, values] of Object.entries(context.req.queries())) {
    if (values.length > 1) {
      throw invalid(`query.${name}`, `is given ${values.length} times. Give it once.`)
    }
    query[name] = values[0] ?? ''
  }
  return query
}

/** @throws REQUEST_INVALID for an address with characters that no stored text can have */
export function refuseUnfit(context: Context): void {
  const { pathname, searchParams } = new URL(context.req.url)
  if (isUnfit(decoded(pathname), UNFIT)) throw invalid('path', UNFIT_TEXT)
  for (const [name, value] of searchParams) {
    if (isUnfit(name + value, UNFIT_QUERY)) throw invalid('query', UNFIT_TEXT)
  }
}

const UNFIT_TEXT = 'has a control character or a lone surrogate, which no id and no stored text has. Leave it out.'

function isUnfit(text: string, unfit: RegExp): boolean {
  return unfit.test(text) || !text.isWellFormed()
}

function decoded(pathname: string): string {
  try {
    return decodeURIComponent(pathname)
  } catch {
    throw invalid('path', 'has a percent sign that is not followed by two digits of a UTF-8 byte. Encode it as %25.')
  }
}

function invalid(path: string, what: string): RuntimeError {
  return new RuntimeError('REQUEST_INVALID', `${path} ${what}`, { detail: { path } })
}

/** Text of a body that is kept as it is: reasons, names, ids. Line breaks are text; NUL is not. */
export function storedText(lengthMin: number, lengthMax: number): z.ZodString {
  return z
    .string()
    .min(lengthMin)
    .max(lengthMax)
    .refine((text) => !text.includes('\u0000') && text.isWellFormed(), 'has a NUL character or a lone surrogate')
}

/** Digits of a number that is exact in every language. */
const DIGITS = /^\d{1,15}$/

/** A whole number in a query parameter, written with digits alone. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER) {
  const fromText = (text: unknown) => (typeof text === 'string' && DIGITS.test(text) ? Number(text) : text)
  return z.preprocess(fromText, z.int().min(min).max(max))
}
