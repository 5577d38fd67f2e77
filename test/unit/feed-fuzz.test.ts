import { expect, test } from 'vitest'
import { createApp } from '../../server/http/app.ts'
import { VERBS } from '../../shared/frame.ts'
import { populate, toyFeed, Viewer } from '../support/feed-viewer.ts'
import { ToyWorld } from '../support/toy-inspect.ts'
import { seededRandom } from '../support/virtual-clock.ts'

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
const FRAMES = 300

const ODD: unknown[] = [
  ...[
    null,
    '',
    'order/1',
    'pool/order',
    '\u0000',
    '\ud800',
    '__proto__',
    'constructor',
    '../..',
    -1,
    0,
    1,
    1e300,
    true,
  ],
  ...[[], {}, { __proto__: null, toString: 1 }, [[]], 'x'.repeat(700), 'status:waiting', 'colour:red', '"'],
]
const FIELDS = [
  ...[
    'id',
    'rid',
    'topic',
    'view',
    'seq',
    'ref',
    'hash',
    'verb',
    'target',
    'key',
    'op',
    'args',
    'message',
    'token',
    'at',
  ],
  ...['maxHz', 'resume', 'incarnation', 'reason'],
]
const KINDS = ['hello', 'sub', 'view', 'unsub', 'ack', 'get', 'plan', 'act', 'pause', 'resume', 'ping', 'pong', 'dance']
const TOPICS = ['processes', 'events', 'process:order/1', 'mailbox:order/1', 'journal:order/1', 'audit', 'weather']
const REFS = ['state:order/1', 'journal:order/1:1', 'message:order/1:0', 'failure:1', 'nonsense']

function dice(seed: number) {
  const random = seededRandom(seed)
  const pick = <T>(list: readonly T[]): T => {
    const found = list[Math.floor(random.next() * list.length)]
    if (found === undefined) throw new Error('Nothing to pick from.')
    return found
  }
  return { pick, often: (share: number) => random.next() < share }
}

/** Mostly well-formed frames with one or two fields that are not. */
function oddFrame({ pick, often }: ReturnType<typeof dice>): unknown {
  const right = {
    t: pick(KINDS),
    id: pick(['a', 'b', 'c']),
    rid: 'r',
    topic: pick(TOPICS),
    ref: pick(REFS),
    seq: 1,
    at: 1,
  }
  const act = { verb: pick(VERBS), target: pick(['order/1', 'none/1']), key: pick(['k1', 'k2']), op: 'add', view: {} }
  const frame: Record<string, unknown> = { ...right, ...act }
  if (often(0.6)) frame[pick(FIELDS)] = pick(ODD)
  if (often(0.3)) delete frame[pick(FIELDS)]
  return often(0.05) ? pick(ODD) : frame
}

test.each(SEEDS)(
  '[F12] whatever a viewer without the role sends, nothing is done and nothing breaks (seed %i)',
  async (seed) => {
    const { world, clock, feed, reported } = toyFeed()
    populate(world, 3)
    const before = JSON.stringify([...world.rows.values()])
    const random = dice(seed)
    let viewer = new Viewer(feed, { actor: 'viewer:eve', roles: ['viewer'] })
    for (let i = 0; i < FRAMES; i++) {
      if (viewer.closed !== null) viewer = new Viewer(feed, { actor: 'viewer:eve', roles: ['viewer'] })
      const frame = oddFrame(random)
      viewer.sayText(random.often(0.03) ? JSON.stringify(frame)?.slice(1) : JSON.stringify(frame))
      if (i % 20 === 0) await clock.advance(200)
    }
    await clock.advance(2_000)
    expect(world.auditItems).toEqual([])
    expect(JSON.stringify([...world.rows.values()])).toBe(before)
    expect(reported).toEqual([])
  },
)

test.each(SEEDS)('[H6] whatever body a request has, the answer is no failure of ours (seed %i)', async (seed) => {
  const world = new ToyWorld()
  const reported: unknown[] = []
  populate(world, 3)
  const app = createApp({ inspect: world, control: world, web: false, report: (error) => reported.push(error) })
  const { pick, often } = dice(seed)
  for (let i = 0; i < 100; i++) {
    const body: Record<string, unknown> = often(0.5) ? { op: 'echo', args: pick(ODD) } : { reason: 'x' }
    if (often(0.7)) body[pick([...FIELDS, 'timeoutMs', 'idempotencyKey'])] = pick(ODD)
    const id = encodeURIComponent(String(pick(['order/1', 'none/1', 'order/%', '..'])))
    const verb = pick(['kill', 'stop', 'send', 'call', 'suspend', 'dance'])
    const response = await app.request(`http://127.0.0.1/api/v1/processes/${id}/${verb}`, {
      method: 'POST',
      headers: { host: '127.0.0.1', 'content-type': 'application/json' },
      body: often(0.1) ? '{"op":' : JSON.stringify(body),
    })
    expect(response.status).not.toBe(500)
    if (!response.ok) expect(await response.json()).toMatchObject({ code: expect.any(String), status: response.status })
  }
  expect(reported).toEqual([])
})
