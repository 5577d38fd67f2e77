/** Tables that keep the store in order: what stays of the past, and who looks after it (schema.ts). */
import { integer, primaryKey, text, timestamp } from 'drizzle-orm/pg-core'
import { created, type MakeTable, name, surrogate } from './column.ts'

/** V4: snapshots of the past that stay, so that a state of the past is read from few rows. */
export function waypointTable(table: MakeTable) {
  return table(
    'waypoints',
    {
      process: surrogate().notNull(),
      seq: surrogate().notNull(),
      claim: surrogate().notNull(),
      stateVersion: integer('state_version').notNull(),
      value: text().notNull(),
      at: created(),
    },
    (t) => [primaryKey({ name: 'waypoints_pk', columns: [t.process, t.seq] })],
  )
}

/** Work that one node at a time does for all, and how far it came. */
export function choreTable(table: MakeTable) {
  return table(
    'chores',
    {
      namespace: name().notNull(),
      name: name().notNull(),
      node: surrogate().notNull(),
      epoch: surrogate().notNull(),
      until: timestamp({ withTimezone: true }).notNull(),
      cursor: surrogate().notNull().default(0),
    },
    (t) => [primaryKey({ name: 'chores_pk', columns: [t.namespace, t.name] })],
  )
}
