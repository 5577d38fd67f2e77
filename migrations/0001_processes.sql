-- 0001 processes: every table of the first release.
-- Why: processes, their journal, mailbox, timers and ties, nodes, and the records people look at.
-- Locks: none that anybody waits for, all tables are new.
-- Names are unqualified on purpose: server/store/migrate.ts runs this file under a search path that is local to its
-- transaction and holds nothing but the schema of the runtime, so one file serves every schema name.
-- Never edited later: its hash is recorded in `migrations` and compared at each start.

CREATE SEQUENCE "claims" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE SEQUENCE "epochs" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE SEQUENCE "ords" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE TABLE "audit" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"namespace" text collate "C" NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"actor" text NOT NULL,
	"verb" text NOT NULL,
	"target" text collate "C" NOT NULL,
	"reason" text,
	"outcome" text NOT NULL,
	"detail" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "blobs" (
	"hash" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL,
	"touched_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "dead_letters" (
	"namespace" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"process" text collate "C" NOT NULL,
	"message_id" text NOT NULL,
	"op" text NOT NULL,
	"args" text NOT NULL,
	"from" text,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"reason" text NOT NULL,
	"failure_id" text,
	"redelivered_at" timestamp with time zone,
	CONSTRAINT "dead_letters_pk" PRIMARY KEY("namespace","id")
);
--> statement-breakpoint
CREATE TABLE "failures" (
	"namespace" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"process" text collate "C" NOT NULL,
	"incarnation" integer NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"class" text NOT NULL,
	"error" text NOT NULL,
	"attempt" integer NOT NULL,
	"message_id" text,
	"op" text,
	"decision" text NOT NULL,
	"box" text NOT NULL,
	CONSTRAINT "failures_pk" PRIMARY KEY("namespace","id")
);
--> statement-breakpoint
CREATE TABLE "heads" (
	"process" bigint PRIMARY KEY NOT NULL,
	"seq" bigint NOT NULL,
	"claim" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "journal" (
	"process" bigint NOT NULL,
	"seq" bigint NOT NULL,
	"claim" bigint NOT NULL,
	"format" smallint DEFAULT 1 NOT NULL,
	"state_version" integer NOT NULL,
	"code_version" text NOT NULL,
	"turn_ids" text[] NOT NULL,
	"cause" text,
	"root" text,
	"traceparent" text,
	"actor" text,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"tx" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"payload" text NOT NULL,
	CONSTRAINT "journal_pk" PRIMARY KEY("process","seq")
);
--> statement-breakpoint
CREATE TABLE "links" (
	"namespace" text collate "C" NOT NULL,
	"process" text collate "C" NOT NULL,
	"peer" text collate "C" NOT NULL,
	"kind" text collate "C" NOT NULL,
	"ref" text collate "C" NOT NULL,
	CONSTRAINT "links_pk" PRIMARY KEY("namespace","process","kind","peer","ref")
);
--> statement-breakpoint
CREATE TABLE "mailbox" (
	"namespace" text collate "C" NOT NULL,
	"target" text collate "C" NOT NULL,
	"ord" bigint NOT NULL,
	"id" text NOT NULL,
	"kind" text NOT NULL,
	"op" text NOT NULL,
	"sender" text,
	"n" integer NOT NULL,
	"args" text NOT NULL,
	"reply_to" text,
	"cause" text,
	"root" text,
	"chain" text,
	"traceparent" text,
	"actor" text,
	"deadline" timestamp with time zone,
	"timer_name" text,
	"timer_arm" integer,
	"attempts" integer DEFAULT 0 NOT NULL,
	"recoveries" integer DEFAULT 0 NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "mailbox_pk" PRIMARY KEY("namespace","target","ord")
);
--> statement-breakpoint
CREATE TABLE "names" (
	"namespace" text collate "C" NOT NULL,
	"name" text collate "C" NOT NULL,
	"process" text collate "C" NOT NULL,
	CONSTRAINT "names_pk" PRIMARY KEY("namespace","name")
);
--> statement-breakpoint
CREATE TABLE "nodes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "nodes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"namespace" text collate "C" NOT NULL,
	"epoch" bigint NOT NULL,
	"name" text NOT NULL,
	"host" text NOT NULL,
	"boot_id" text NOT NULL,
	"os_pid" integer NOT NULL,
	"os_started_at" text NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL,
	"lease_until" timestamp with time zone NOT NULL,
	"capabilities" text NOT NULL,
	"session" boolean DEFAULT false NOT NULL,
	"stopped_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "processes" (
	"pid" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "processes_pid_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"namespace" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"agent" text collate "C" NOT NULL,
	"key" text NOT NULL,
	"kind" text NOT NULL,
	"parent" text,
	"incarnation" integer DEFAULT 1 NOT NULL,
	"state_version" integer DEFAULT 0 NOT NULL,
	"restarts" integer DEFAULT 0 NOT NULL,
	"desired" text DEFAULT 'running' NOT NULL,
	"diverged" boolean DEFAULT false NOT NULL,
	"ended" boolean DEFAULT false NOT NULL,
	"exit" text,
	"owner" bigint,
	"owner_epoch" bigint,
	"open" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "requests" (
	"namespace" text collate "C" NOT NULL,
	"scope" text collate "C" NOT NULL,
	"key" text collate "C" NOT NULL,
	"args_hash" text NOT NULL,
	"process" text NOT NULL,
	"message_id" text NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"result" text,
	"expires_at" timestamp with time zone,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "requests_pk" PRIMARY KEY("namespace","scope","key")
);
--> statement-breakpoint
CREATE TABLE "snapshots" (
	"process" bigint PRIMARY KEY NOT NULL,
	"seq" bigint NOT NULL,
	"claim" bigint NOT NULL,
	"state_version" integer NOT NULL,
	"value" text NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "timers" (
	"process" bigint NOT NULL,
	"namespace" text collate "C" NOT NULL,
	"target" text NOT NULL,
	"name" text collate "C" NOT NULL,
	"arm" integer NOT NULL,
	"due" timestamp with time zone NOT NULL,
	"op" text NOT NULL,
	"args" text NOT NULL,
	"root" text,
	"traceparent" text,
	CONSTRAINT "timers_pk" PRIMARY KEY("process","name")
);
--> statement-breakpoint
CREATE INDEX "audit_id" ON "audit" USING btree ("namespace","id");--> statement-breakpoint
CREATE INDEX "audit_target" ON "audit" USING btree ("namespace","target","id");--> statement-breakpoint
CREATE INDEX "blobs_touched" ON "blobs" USING btree ("touched_at");--> statement-breakpoint
CREATE INDEX "dead_letters_at" ON "dead_letters" USING btree ("namespace","at");--> statement-breakpoint
CREATE INDEX "dead_letters_process" ON "dead_letters" USING btree ("namespace","process","at");--> statement-breakpoint
CREATE INDEX "failures_at" ON "failures" USING btree ("namespace","at");--> statement-breakpoint
CREATE INDEX "failures_process" ON "failures" USING btree ("namespace","process","at");--> statement-breakpoint
CREATE INDEX "links_peer" ON "links" USING btree ("namespace","peer");--> statement-breakpoint
CREATE INDEX "names_process" ON "names" USING btree ("namespace","process");--> statement-breakpoint
CREATE UNIQUE INDEX "nodes_epoch" ON "nodes" USING btree ("epoch");--> statement-breakpoint
CREATE INDEX "nodes_live" ON "nodes" USING btree ("namespace","id") WHERE "nodes"."stopped_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "processes_id" ON "processes" USING btree ("namespace","id");--> statement-breakpoint
CREATE INDEX "processes_owner" ON "processes" USING btree ("namespace","owner","owner_epoch") WHERE "processes"."owner" is not null and not "processes"."ended";--> statement-breakpoint
CREATE INDEX "processes_open" ON "processes" USING btree ("namespace","id") WHERE "processes"."open";--> statement-breakpoint
CREATE INDEX "timers_due" ON "timers" USING btree ("namespace","due");--> statement-breakpoint
-- Heads change with every commit: half-full pages keep the new version on the page of the old one (HOT, no index work),
-- and vacuum comes early and cheap.
ALTER TABLE "heads" SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
--> statement-breakpoint
-- The mailbox is a queue: nearly all rows are short-lived, and its index must not drag their tombstones along.
ALTER TABLE "mailbox" SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
--> statement-breakpoint
ALTER TABLE "timers" SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
