/** Routes of the observer's page and assets. */
import type { Context, Hono } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { routePath } from 'hono/route'
import { RuntimeError } from '../../shared/error.ts'
import { type Asset, AssetFolder, baseHref, CONTENT_SECURITY_POLICY, withBase } from './asset.ts'
import { type Guard, TOKEN_COOKIE } from './guard.ts'

type ObserverOptions = { guard: Guard; folder: string; basePath: string | undefined }

/** Seconds. Hashed names never change their content. */
const IMMUTABLE = 'public, max-age=31536000, immutable'
const REVALIDATE = 'no-cache'

export function serveObserver(app: Hono, { guard, folder, basePath }: ObserverOptions): void {
  const assets = new AssetFolder(folder)
  app.get('/*', async (context) => {
    await guard.admit(context.req.raw, false).catch(onlyUnnamed)
    const { path, fullPath } = pathsOf(context)
    const token = context.req.query('token')
    if (token !== undefined && guard.named) return keepToken(context, guard, token)
    const name = path.replace(/^\//, '')
    const asset = name === '' || name === 'index.html' ? null : await assets.find(name)
    if (asset !== null) return answer(context, asset, asset.hashed ? IMMUTABLE : REVALIDATE)
    if (/^(assets|api)(\/|$)/.test(name)) throw new RuntimeError('NOT_FOUND', `There is nothing at ${fullPath}.`)
    const page = await assets.find('index.html')
    if (page === null) {
      const message = `The observer was not built: ${folder} has no index.html. Run npm run build:web.`
      throw new RuntimeError('NOT_FOUND', message)
    }
    const href = basePath === undefined ? baseHref(path, fullPath) : `${basePath.replace(/\/+$/, '')}/`
    const html = withBase(new TextDecoder().decode(page.body), href)
    return context.body(html, 200, { ...pageHeaders(page.type), 'cache-control': REVALIDATE })
  })
}

/** The page holds no data, so it is shown to people without credentials: it is where they learn that they need some. */
function onlyUnnamed(error: unknown): null {
  if (error instanceof RuntimeError && error.code === 'UNAUTHORIZED') return null
  throw error
}

/** A link with `?token=` lets a browser in: the token goes into a cookie no script can read, out of the address. */
function keepToken(context: Context, guard: Guard, token: string): Response {
  guard.identify(token)
  if (getCookie(context, TOKEN_COOKIE) !== token) {
    setCookie(context, TOKEN_COOKIE, token, {
      httpOnly: true,
      sameSite: 'Strict',
      secure: new URL(context.req.url).protocol === 'https:',
      path: '/',
    })
  }
  const url = new URL(context.req.url)
  url.searchParams.delete('token')
  const last = url.pathname.slice(url.pathname.lastIndexOf('/') + 1)
  return context.redirect(`${last === '' ? './' : last}${url.search}`, 303)
}

/** Path inside the mount, and the whole path. A host that mounts with `app.route` keeps its prefix in the path. */
function pathsOf(context: Context): { path: string; fullPath: string } {
  const fullPath = new URL(context.req.url).pathname
  const prefix = routePath(context).replace(/\/\*$/, '')
  const prefixed = prefix !== '' && (fullPath === prefix || fullPath.startsWith(`${prefix}/`))
  return { path: prefixed ? fullPath.slice(prefix.length) : fullPath, fullPath }
}

function answer(context: Context, asset: Asset, caching: string): Response {
  const headers = { ...pageHeaders(asset.type), 'cache-control': caching, etag: asset.etag, vary: 'accept-encoding' }
  if (context.req.header('if-none-match') === asset.etag) return context.body(null, 304, headers)
  const zipped = asset.gzip !== null && /\bgzip\b/.test(context.req.header('accept-encoding') ?? '')
  if (asset.gzip === null || !zipped) return context.body(asset.body, 200, headers)
  return context.body(asset.gzip, 200, { ...headers, 'content-encoding': 'gzip' })
}

function pageHeaders(type: string): Record<string, string> {
  return {
    'content-type': type,
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
  }
}
