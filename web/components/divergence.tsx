/** Where the code left what the journal holds: the lines that the server makes of it, and what can be done. */
import type { ProcessDetail } from '../../shared/snapshot.ts'

export function DivergenceSection({ row: { divergence } }: { row: ProcessDetail }) {
  if (divergence === undefined) return null
  const [title, ...lines] = divergence.text
  return (
    <section className="divergence" aria-label="Divergence">
      <h3>{title}</h3>
      <pre className="divergence-lines">
        {lines.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the lines of one divergence never change
          <span key={index} className={toneOf(line)}>
            {`${line}\n`}
          </span>
        ))}
      </pre>
      <p className="dim">
        Lines with - are in the journal, those with + are what the code asks for. Nothing was overwritten. Deploy the
        code that fits and resume it, run the turn again, or skip its message.
      </p>
    </section>
  )
}

function toneOf(line: string): string | undefined {
  if (line.startsWith('-')) return 'line-journal'
  return line.startsWith('+') ? 'line-code' : undefined
}
