-- 0004 waits: what a parked turn waits for, and which messages it can take.
-- Why: a turn that only waits leaves memory; rows of lists show its wait, and recovery leaves it alone until something
-- comes that it can take.
-- Locks: `processes` for an instant, no row is rewritten. Older code runs on it: it parks nothing, and what it claims
-- it gives up without a wait.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.
ALTER TABLE "processes" ADD COLUMN "wait" text;--> statement-breakpoint
ALTER TABLE "processes" ADD COLUMN "takes" text[];--> statement-breakpoint
ALTER TABLE "processes" ADD COLUMN "judged" bigint;