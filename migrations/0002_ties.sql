-- 0002 ties: links, monitors and trap_exit of durable processes.
-- Why: a tie remembers the lives of its ends, so that an end which was missed is found; whether a process traps exits
-- and whether its last incarnation ended survive passivation.
-- Locks: each statement changes the catalogue only, no row is rewritten.

ALTER TABLE "links" ADD COLUMN "incarnation" integer;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "peer_incarnation" integer;--> statement-breakpoint
ALTER TABLE "processes" ADD COLUMN "trap_exit" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "processes" ADD COLUMN "gone" boolean DEFAULT false NOT NULL;
