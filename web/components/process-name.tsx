/** `agent/key`, the agent part quieter than the key. Links to the inspector of the process. */
import { splitId } from '../../shared/id.ts'
import { Link } from '../ui/link.tsx'
import { agentPath } from './address.ts'

export function ProcessName({ id }: { id: string }) {
  const { agent, key } = splitId(id)
  return (
    <span className="process-name" title={id}>
      <span className="process-agent">{key === '' ? agent : `${agent}/`}</span>
      <span className="process-key">{key}</span>
    </span>
  )
}

export function ProcessLink({ id }: { id: string }) {
  return (
    <Link to={agentPath(id)} className="process-link">
      <ProcessName id={id} />
    </Link>
  )
}
