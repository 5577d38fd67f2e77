-- 0006 keeping: retention, versions of the past, and what the doctor asks for.
-- Why: waypoints are snapshots that stay, so that a state of the past is read from few rows; chores are work that one
-- node at a time does for all, with how far it came; the indexes find held processes and old requests.
-- Locks: building the indexes holds up claims and new requests, not commits: turns write neither table.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.

CREATE TABLE "chores" (
	"namespace" text collate "C" NOT NULL,
	"name" text collate "C" NOT NULL,
	"node" bigint NOT NULL,
	"epoch" bigint NOT NULL,
	"until" timestamp with time zone NOT NULL,
	"cursor" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "chores_pk" PRIMARY KEY("namespace","name")
);
--> statement-breakpoint
CREATE TABLE "waypoints" (
	"process" bigint NOT NULL,
	"seq" bigint NOT NULL,
	"claim" bigint NOT NULL,
	"state_version" integer NOT NULL,
	"value" text NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "waypoints_pk" PRIMARY KEY("process","seq")
);
--> statement-breakpoint
CREATE INDEX "processes_held" ON "processes" USING btree ("namespace","id") WHERE not "processes"."ended" and ("processes"."diverged" or "processes"."desired" <> 'running');--> statement-breakpoint
CREATE INDEX "requests_at" ON "requests" USING btree ("namespace","at");--> statement-breakpoint
-- A walk moves its row every step; room on the page keeps it there.
ALTER TABLE "chores" SET (fillfactor = 50);
