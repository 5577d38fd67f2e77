-- 0005 streams: what agents and outsiders write record by record, and who writes it.
-- Why: output that is shown while a turn still runs must survive it and be read again from any position.
-- Locks: none that anybody waits for; the tables are new.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.

CREATE TABLE "stream_producers" (
	"stream" bigint NOT NULL,
	"producer" text collate "C" NOT NULL,
	"epoch" bigint NOT NULL,
	"seq" bigint NOT NULL,
	CONSTRAINT "stream_producers_pk" PRIMARY KEY("stream","producer")
);
--> statement-breakpoint
CREATE TABLE "stream_records" (
	"stream" bigint NOT NULL,
	"pos" bigint NOT NULL,
	"data" "bytea" NOT NULL,
	"reset" boolean DEFAULT false NOT NULL,
	"turn" text,
	"step" text,
	"attempt" integer DEFAULT 1 NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "stream_records_pk" PRIMARY KEY("stream","pos")
);
--> statement-breakpoint
CREATE TABLE "streams" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "streams_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"namespace" text collate "C" NOT NULL,
	"path" text collate "C" NOT NULL,
	"process" bigint,
	"claim" bigint DEFAULT 0 NOT NULL,
	"content_type" text NOT NULL,
	"config" text NOT NULL,
	"tail" bigint DEFAULT 0 NOT NULL,
	"floor" bigint DEFAULT 0 NOT NULL,
	"bytes" bigint DEFAULT 0 NOT NULL,
	"closed" boolean DEFAULT false NOT NULL,
	"closed_by" text,
	"writer_seq" text,
	"ttl_s" bigint,
	"expires_at" timestamp with time zone,
	"fork_of" bigint,
	"gone" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"touched_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX "streams_path" ON "streams" USING btree ("namespace","path");--> statement-breakpoint
CREATE INDEX "streams_process" ON "streams" USING btree ("process") WHERE "streams"."process" is not null;--> statement-breakpoint
CREATE INDEX "streams_fork_of" ON "streams" USING btree ("fork_of") WHERE "streams"."fork_of" is not null;
