/** A key as it is printed on the keyboard. */
const APPLE = /Mac|iPhone|iPad/.test(navigator.platform)

export function Kbd({ keys }: { keys: string }) {
  return (
    <span className="kbd-row">
      {keys.split(' ').map((key, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the keys of one shortcut never change order
        <kbd key={index}>{key.replace('$mod', APPLE ? '⌘' : 'Ctrl')}</kbd>
      ))}
    </span>
  )
}
