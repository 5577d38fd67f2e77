/** Copies text, and says so. Over plain HTTP the browser closes its clipboard to pages; a selection still works. */
import { showToast } from './toast.tsx'

export async function copyText(text: string, what: string): Promise<void> {
  const copied = await viaApi(text)
  if (copied || viaSelection(text)) showToast({ id: 'copy', tone: 'good', title: `${what} copied`, text })
  else
    showToast({
      id: 'copy',
      tone: 'bad',
      title: `${what} not copied`,
      text: `The browser refused. Copy it here: ${text}`,
    })
}

async function viaApi(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false // closed on this address, or refused by the reader: the other way is tried
  }
}

function viaSelection(text: string): boolean {
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'sr-only'
  document.body.append(area)
  area.select()
  const copied = document.execCommand('copy')
  area.remove()
  return copied
}
