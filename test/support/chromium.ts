/**
 * The browser of the tests: `playwright-core` drives the Chromium that `@sparticuz/chromium` carries inside its npm
 * package, so nothing is downloaded and nothing is installed by hand. `CHROMIUM_PATH` names another binary to use.
 *
 * - The package unpacks into the temp folder and returns whatever file of that name lies there, also one of an older
 *   version. So it unpacks in a child process whose TMPDIR is a fresh folder, and the folder is renamed into a place
 *   that carries the version: a rename is the lock, a half-unpacked browser is never visible, the first one wins.
 * - The version the binary itself reports is compared with the package's before it is used.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Browser, chromium } from 'playwright-core'

const run = promisify(execFile)

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Unpacking 67 MB of brotli takes 3 s here; a machine twenty times slower still passes. */
const UNPACK_TIMEOUT_MS = 60_000

const FLAGS = [
  '--no-sandbox', // containers run as root, where the sandbox refuses to start
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Starts a headless browser; the caller closes it. */
export async function launchChromium(): Promise<Browser> {
  const { path, env } = await findChromium()
  return chromium.launch({ executablePath: path, args: FLAGS, env: { ...definedEnv(), ...env } })
}

type Installed = { readonly path: string; readonly env: Record<string, string> }

/** A browser that was checked to be the version asked for, with the environment it needs; unpacks it on first use. */
export async function findChromium(): Promise<Installed> {
  const override = process.env['CHROMIUM_PATH']
  if (override !== undefined && override !== '') return { path: override, env: {} }
  const manifest = await readManifest()
  const folder = join(tmpdir(), `vivarium-chromium-${manifest.version}-${userInfo().uid}`)
  const path = join(folder, 'chromium')
  if (!existsSync(path)) await unpackInto(folder, join(manifest.folder, 'bin', 'al2023.tar.br'))
  const fonts = { FONTCONFIG_FILE: await writeFontConfig(folder) }
  // A slim machine lacks NSS; the package brings a copy, which is used only there because a system's own fits better.
  const bundled = { ...fonts, LD_LIBRARY_PATH: join(folder, 'al2023', 'lib') }
  const own = await readVersion(path, fonts).catch(() => null)
  const reported = own ?? (await readVersion(path, bundled))
  const [major] = manifest.version.split('.')
  assert(
    reported.includes(` ${major}.`),
    `${path} reports "${reported}" but @sparticuz/chromium is ${manifest.version}. Delete ${folder} and run again.`,
  )
  return { path, env: own === null ? bundled : fonts }
}

async function readManifest(): Promise<{ version: string; folder: string }> {
  const folder = dirname(dirname(fileURLToPath(import.meta.resolve('@sparticuz/chromium'))))
  const manifest: unknown = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  assert(typeof manifest === 'object' && manifest !== null && 'version' in manifest)
  assert(typeof manifest.version === 'string')
  return { version: manifest.version, folder }
}

async function unpackInto(folder: string, libraries: string): Promise<void> {
  const fresh = await mkdtemp(`${folder}.partial-`)
  try {
    const script = `import chromium, { inflate } from '@sparticuz/chromium'
      await chromium.executablePath()
      await inflate(${JSON.stringify(libraries)})`
    const env = { ...process.env, TMPDIR: fresh, TEMP: fresh, TMP: fresh }
    await run(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: root,
      env,
      timeout: UNPACK_TIMEOUT_MS,
    })
    await rename(fresh, folder).catch((error: unknown) => {
      // Another run published the same version first: a folder that is not empty cannot be renamed over.
      if (!existsSync(join(folder, 'chromium'))) throw error
    })
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

/**
 * The package's own configuration names folders of a cloud function only. Without any font a page shows no text, and
 * the first text field ends the browser (`SkFontMgr_FontConfigInterface: Not implemented`).
 */
async function writeFontConfig(folder: string): Promise<string> {
  const path = join(folder, 'vivarium-fonts.conf')
  if (existsSync(path)) return path
  const fresh = `${path}.${process.pid}`
  await writeFile(
    fresh,
    `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, 'fonts', 'fonts')}</dir>
  <cachedir>${join(folder, 'fonts', 'cache')}</cachedir>
  <config></config>
</fontconfig>
`,
  )
  await rename(fresh, path)
  return path
}

async function readVersion(path: string, env: Record<string, string>): Promise<string> {
  const { stdout } = await run(path, ['--version', '--no-sandbox'], { env: { ...process.env, ...env } })
  return stdout.trim()
}

function definedEnv(): Record<string, string> {
  const defined = (entry: [string, string | undefined]): entry is [string, string] => entry[1] !== undefined
  return Object.fromEntries(Object.entries(process.env).filter(defined))
}
