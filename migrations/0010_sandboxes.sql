-- 0010 sandboxes: which processes are sandbox copies of another one.
-- Why: a copy that an operator looks into must stay a copy wherever it runs, and say whose (E8).
-- Locks: `processes` for an instant, no row is rewritten. Older code runs on it, but knows of no sandboxes: it would run
-- one as any other process. Fork once no node of an older release is left.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.
ALTER TABLE "processes" ADD COLUMN "sandbox" text;
