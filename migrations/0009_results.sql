-- 0009 results: who waits for the result of a started operation.
-- Why: a turn that waits for one is parked, and a node with callers outside is told; the commit that stores the result
-- finds them in the row that it settles.
-- Locks: `requests` for an instant, no row is rewritten. Older code runs on it; a result that it stores tells nobody, so
-- who waits on newer code hears of it at its next look, and a turn that was parked when its process is restarted.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.
ALTER TABLE "requests" ADD COLUMN "waiters" text[];
