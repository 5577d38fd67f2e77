-- 0011 branches: which branch the turns of a process derive their ids in.
-- Why: what is derived after a rewind must not be taken for what was derived before it (E3, T4), also when the row of
-- the rewind is below the last snapshot.
-- Locks: `processes` for an instant, no row is rewritten. Older code runs on it, but derives everything in branch 0.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.
ALTER TABLE "processes" ADD COLUMN "branch" bigint DEFAULT 0 NOT NULL;
