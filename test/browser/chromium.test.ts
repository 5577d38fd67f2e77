import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { launchChromium } from '../support/chromium.ts'

test('the browser of the tests runs a page from loopback and takes a picture of it', async () => {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end('<main>waiting</main><script>document.querySelector("main").textContent = "run"</script>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP, so it is no path
  const browser = await launchChromium()
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${port}/`)
    expect(await page.textContent('main')).toBe('run')
    const picture = await page.screenshot()
    expect(picture.subarray(1, 4).toString('latin1')).toBe('PNG')
  } finally {
    await browser.close()
    server.close()
  }
})
