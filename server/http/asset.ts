/**
 * The prebuilt observer: its page under every address a person may open, its assets under their hashed names.
 *
 * - Only files found under the folder by listing it are served, so no address can leave it.
 * - The page gets a `<base href>` for its depth: any mount path and any proxy in front work without configuration.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join, relative, sep } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

export type Asset = {
  body: Uint8Array<ArrayBuffer>
  gzip: Uint8Array<ArrayBuffer> | null
  type: string
  etag: string
  hashed: boolean
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
  '.map': 'application/json',
}
const COMPRESSED: ReadonlySet<string> = new Set(['.html', '.js', '.css', '.json', '.svg', '.webmanifest'])
/** Bytes under which compressing saves no packet. */
const GZIP_BYTES_MIN = 1_024

/** Everything from the server itself, nothing inline: works under the strictest policy of a host. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ')

export class AssetFolder {
  readonly #folder: string
  readonly #loaded = new Map<string, { asset: Asset; mtimeMs: number }>()
  #names: ReadonlySet<string> | null = null

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Null when the folder has no such file. */
  async find(name: string): Promise<Asset | null> {
    if (this.#names?.has(name) !== true) this.#names = await listFiles(this.#folder)
    if (!this.#names.has(name)) return null
    const path = join(this.#folder, name)
    try {
      const { mtimeMs } = await stat(path)
      const known = this.#loaded.get(name)
      if (known?.mtimeMs === mtimeMs) return known.asset
      const asset = await load(path, name)
      this.#loaded.set(name, { asset, mtimeMs })
      return asset
    } catch (error) {
      if (!isMissing(error)) throw error
      this.#names = null // rebuilt since it was listed
      return null
    }
  }
}

/** Base of the page relative to its own address, for `path` inside the mount and the whole path of the request. */
export function baseHref(path: string, fullPath: string): string {
  const inside = path.replace(/^\//, '')
  // `/ops` without a slash: relative addresses resolve against its parent, so its own name has to be repeated.
  if (inside === '' && !fullPath.endsWith('/')) return `${fullPath.slice(fullPath.lastIndexOf('/') + 1)}/`
  const depth = inside.split('/').length - 1
  return depth === 0 ? './' : '../'.repeat(depth)
}

export function withBase(html: string, href: string): string {
  const escaped = href.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
  return html.replace(/<head([^>]*)>/i, (head) => `${head}<base href="${escaped}">`)
}

async function load(path: string, name: string): Promise<Asset> {
  const body = new Uint8Array(await readFile(path))
  const extension = extname(name)
  const small = body.byteLength < GZIP_BYTES_MIN || !COMPRESSED.has(extension)
  return {
    body,
    gzip: small ? null : new Uint8Array(await promisify(gzip)(body)),
    type: TYPES[extension] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    hashed: /^assets\/.*[-.][\w-]{8,}\.\w+$/.test(name),
  }
}

async function listFiles(folder: string): Promise<ReadonlySet<string>> {
  try {
    const found = await readdir(folder, { recursive: true, withFileTypes: true })
    const files = found.filter((entry) => entry.isFile())
    return new Set(files.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/')))
  } catch (error) {
    if (isMissing(error)) return new Set()
    throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
