-- 0003 blobs: who refers to a large value.
-- Why: large values are stored once, apart from the rows that use them; what nothing refers to is collected. The old
-- index on touched_at is of no use to that and would make each touch write an index.
-- Locks: none that anybody waits for; the table of blobs was not written before.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.

CREATE TABLE "blob_refs" (
	"process" bigint NOT NULL,
	"snapshot" boolean NOT NULL,
	"seq" bigint NOT NULL,
	"hash" text NOT NULL,
	CONSTRAINT "blob_refs_pk" PRIMARY KEY("process","snapshot","seq","hash")
);
--> statement-breakpoint
DROP INDEX "blobs_touched";--> statement-breakpoint
CREATE INDEX "blob_refs_hash" ON "blob_refs" USING btree ("hash");--> statement-breakpoint
-- A touch writes a new version of the row, not of the value behind it: room on the page keeps it there.
ALTER TABLE "blobs" SET (fillfactor = 80);
