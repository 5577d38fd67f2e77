/** Marks a sandbox copy wherever it is shown, with the way to its original: nobody may take one for the other. */
import { splitId } from '../../shared/id.ts'
import { Link } from '../ui/link.tsx'
import { agentPath } from './address.ts'

type SandboxBadgeProps = { of: string; inRow?: boolean }

/** In a row, where the agent stands beside it, the key of the original is enough. */
export function SandboxBadge({ of, inRow = false }: SandboxBadgeProps) {
  const { key } = splitId(of)
  return (
    <Link
      to={agentPath(of)}
      className="sandbox-badge"
      title={`Sandbox copy of ${of}: nothing gets out of it`}
      inTabOrder={!inRow}
    >
      sandbox of {inRow && key !== '' ? key : of}
    </Link>
  )
}
