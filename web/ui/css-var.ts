/** Custom properties set through the object model: a strict content security policy forbids style attributes. */
import { type RefObject, useLayoutEffect } from 'react'

export function useCssVars(ref: RefObject<HTMLElement | null>, vars: Readonly<Record<`--${string}`, string>>): void {
  const text = JSON.stringify(vars)
  useLayoutEffect(() => {
    const style = ref.current?.style
    const entries: [string, string][] = Object.entries(JSON.parse(text)) // our own record, made above
    for (const [name, value] of entries) style?.setProperty(name, value)
  }, [ref, text])
}
