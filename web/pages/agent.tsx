/** Full page of one process. */
import { agentOfPath } from '../components/address.ts'
import { Inspector } from '../components/inspector.tsx'
import { useKeys } from '../ui/keys.ts'
import { adjust, go, usePlace } from '../ui/location.ts'
import { StateNote } from '../ui/state-note.tsx'

export function AgentPage() {
  const { path, search } = usePlace()
  const id = agentOfPath(path)
  const close = () => go('agents', { sel: id ?? undefined })
  useKeys({ Escape: close, f: close })
  if (id === null) return <StateNote title="This address names no process.">Its id could not be read.</StateNote>
  return (
    <div className="page page-agent">
      <h1 className="sr-only">Process {id}</h1>
      <Inspector id={id} tab={search.tab} full onTab={(tab) => adjust({ tab })} onClose={close} />
    </div>
  )
}
