/**
 * The settings of the embedded server, all of them, each with its reason. Every figure in bench/README.md was measured
 * under exactly these. The file `postgresql.conf` is rewritten from this table at each start, so an upgrade of the
 * package reaches old folders; what an operator changes with ALTER SYSTEM (postgresql.auto.conf) still wins.
 *
 * Invariant: nothing here weakens durability (fsync, synchronous_commit, full_page_writes stay on).
 */
export type ServerSetting = { readonly name: string; readonly value: string; readonly reason: string }

export const SERVER_SETTINGS: readonly ServerSetting[] = [
  { name: 'listen_addresses', value: '', reason: 'unix socket only: nothing to firewall, no port to collide' },
  { name: 'unix_socket_permissions', value: '0700', reason: 'only the server user; the folder is 0700 as well' },
  { name: 'password_encryption', value: 'scram-sha-256', reason: 'the one method pg_hba.conf lets in' },

  { name: 'fsync', value: 'on', reason: 'a reply means the commit is on disk' },
  { name: 'synchronous_commit', value: 'on', reason: 'off gave no more turns per second with group commit' },
  { name: 'full_page_writes', value: 'on', reason: 'torn pages after power loss' },
  { name: 'wal_level', value: 'replica', reason: 'pg_basebackup and a standby stay possible' },
  {
    name: 'wal_buffers',
    value: '16MB',
    reason: 'one WAL segment: three batches in flight never wait for buffer space',
  },
  { name: 'min_wal_size', value: '256MB', reason: 'segments are recycled instead of created under load' },
  { name: 'max_wal_size', value: '2GB', reason: 'at 60,000 turns/s the default 1GB checkpoints every few seconds' },
  { name: 'checkpoint_timeout', value: '5min', reason: 'bounds crash recovery; the default, stated' },
  { name: 'checkpoint_completion_target', value: '0.9', reason: 'spreads checkpoint writes; the default, stated' },

  { name: 'max_connections', value: '100', reason: 'a committer and a reader pool per node, ten nodes, and operators' },
  {
    name: 'shared_buffers',
    value: '128MB',
    reason: 'hot rows are narrow; the OS caches the rest; fits small machines',
  },
  { name: 'work_mem', value: '8MB', reason: 'sorts of the observer stay in memory; small as many may run at once' },
  { name: 'jit', value: 'off', reason: 'statements are short; compiling costs more than it saves' },
  {
    name: 'max_parallel_workers_per_gather',
    value: '0',
    reason: 'a cold read must not take the cores from the agents',
  },
  { name: 'autovacuum_naptime', value: '15s', reason: 'head rows are updated by every commit: vacuum soon and little' },

  { name: 'timezone', value: 'UTC', reason: 'the same text for the same instant on every machine' },
  { name: 'log_timezone', value: 'UTC', reason: 'as above, in the log' },
  { name: 'log_destination', value: 'stderr', reason: 'pg_ctl appends it to server.log' },
  { name: 'logging_collector', value: 'off', reason: 'one process less; the file is rotated at start' },
  { name: 'log_min_messages', value: 'warning', reason: 'an idle server writes nothing' },
  { name: 'log_checkpoints', value: 'off', reason: 'as above' },
  { name: 'log_lock_waits', value: 'on', reason: 'a stuck lock is otherwise invisible' },
  { name: 'log_line_prefix', value: '%m [%p] ', reason: 'time and backend; the default, stated' },
]

/** `local` is the unix socket. The secret is required there too: socket access alone does not open the database. */
export const HOST_BASED_ACCESS = `# Written by vivarium at each start.
local all all scram-sha-256
`

/** The text of postgresql.conf. */
export function settingText(): string {
  const lines = SERVER_SETTINGS.map(({ name, value, reason }) => {
    return `${name} = '${value.replaceAll("'", "''")}'  # ${reason}`
  })
  return `# Written by vivarium at each start. Use ALTER SYSTEM for settings of your own.\n${lines.join('\n')}\n`
}
