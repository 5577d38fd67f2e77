/** A modal sheet on the native dialog element: focus is trapped, Escape closes, focus returns where it was. */
import { type ReactNode, useEffect, useRef } from 'react'

type SheetProps = { label: string; onClose: () => void; className?: string; children: ReactNode }

export function Sheet({ label, onClose, className, children }: SheetProps) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current
    const before = document.activeElement
    dialog?.showModal()
    // The dialog would focus its first control; the one to begin with says so itself.
    dialog?.querySelector<HTMLElement>('[data-first-focus]')?.focus()
    return () => {
      dialog?.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: a click beside the sheet closes it; the keyboard has Escape
    <dialog
      ref={ref}
      className={`sheet ${className ?? ''}`}
      aria-label={label}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => {
        if (event.target === ref.current) onClose()
      }}
    >
      <div className="sheet-body">{children}</div>
    </dialog>
  )
}
