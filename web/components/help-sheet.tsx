/** All keys that do something, on one sheet. */
import { useState } from 'react'
import { Kbd } from '../ui/kbd.tsx'
import { setSingleKeys, singleKeysOn } from '../ui/keys.ts'
import { Sheet } from '../ui/sheet.tsx'

const GROUPS: readonly { title: string; keys: readonly (readonly [string, string])[] }[] = [
  {
    title: 'Everywhere',
    keys: [
      ['$mod K', 'go to a page or a process'],
      ['g o', 'Overview'],
      ['g a', 'Agents'],
      ['g f', 'Failures'],
      ['g u', 'Audit'],
      ['t', 'dark or light'],
      ['y', 'copy the link to this view'],
      ['?', 'this sheet'],
    ],
  },
  {
    title: 'List of agents',
    keys: [
      ['/', 'filter'],
      ['j k', 'down, up (arrows too)'],
      ['h l', 'fold, unfold'],
      ['Enter', 'open the inspector'],
      ['v', 'tree or flat list'],
      ['Space', 'hold the order, let go'],
      ['Esc', 'close, clear'],
    ],
  },
  {
    title: 'Inspector',
    keys: [
      ['Alt 1', 'to Alt 5: Now, Timeline, State, Mailbox, Failures'],
      ['f', 'full page'],
      ['[ ]', 'previous, next process of the list'],
      ['Y', 'copy the id'],
    ],
  },
  {
    title: 'Actions (each opens a sheet first)',
    keys: [
      ['K', 'kill'],
      ['S', 'stop'],
      ['R', 'restart'],
      ['P', 'suspend or resume'],
      ['M', 'send a message'],
      ['E', 'edit the state'],
      ['T', 'run the open turn again'],
      ['X', 'skip the message in hand'],
      ['C', 'cancel the operation in hand'],
      ['F', 'fork: make a sandbox copy'],
      ['A', 'answer what it waits for'],
      ['Del', 'discard a sandbox copy'],
      ['.', 'choose an action'],
      ['$mod Enter', 'confirm'],
    ],
  },
]

export function HelpSheet({ onClose }: { onClose: () => void }) {
  const [on, setOn] = useState(singleKeysOn)
  const toggle = () => {
    setSingleKeys(!on)
    setOn(!on)
  }
  return (
    <Sheet label="Keyboard" onClose={onClose} className="help-sheet">
      <header className="sheet-head">
        <h2>Keyboard</h2>
        <button type="button" className="icon-button" aria-label="Close help" onClick={onClose}>
          ×
        </button>
      </header>
      <div className="help-groups">
        {GROUPS.map((group) => (
          <section key={group.title}>
            <h3>{group.title}</h3>
            <dl>
              {group.keys.map(([keys, text]) => (
                <div key={keys}>
                  <dt>
                    <Kbd keys={keys} />
                  </dt>
                  <dd>{text}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <label className="help-switch">
        <input type="checkbox" checked={on} onChange={toggle} /> Single keys act (combinations always do)
      </label>
    </Sheet>
  )
}
