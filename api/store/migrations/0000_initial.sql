CREATE TABLE "checkpoints" (
	"round_id" uuid PRIMARY KEY NOT NULL,
	"sequence" integer NOT NULL,
	"blob_key" text NOT NULL,
	"digest" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "leases" (
	"round_id" uuid PRIMARY KEY NOT NULL,
	"holder" text NOT NULL,
	"fence" bigint NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "device_keys" (
	"federation_id" text NOT NULL,
	"thumbprint" text NOT NULL,
	"device_id" uuid NOT NULL,
	"jwk" jsonb NOT NULL,
	"state" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"first_used_at" timestamp (3) with time zone,
	CONSTRAINT "device_keys_federation_id_thumbprint_pk" PRIMARY KEY("federation_id","thumbprint")
);
--> statement-breakpoint
CREATE TABLE "devices" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"name" text NOT NULL,
	"state" text NOT NULL,
	"labels" jsonb NOT NULL,
	"properties" jsonb NOT NULL,
	"enrollment_token_id" uuid,
	"created_at" timestamp (3) with time zone NOT NULL,
	"approved_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	"erase_requested_at" timestamp (3) with time zone,
	"erased_at" timestamp (3) with time zone,
	"last_seen_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "enrollment_tokens" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"name" text NOT NULL,
	"secret_hash" text NOT NULL,
	"labels" jsonb NOT NULL,
	"requires_approval" boolean NOT NULL,
	"max_uses" integer NOT NULL,
	"uses" integer DEFAULT 0 NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"revoked_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "federations" (
	"id" text PRIMARY KEY NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "operator_keys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"name" text NOT NULL,
	"role" text NOT NULL,
	"secret_hash" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"revoked_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "used_assertions" (
	"thumbprint" text NOT NULL,
	"jti" text NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "used_assertions_thumbprint_jti_pk" PRIMARY KEY("thumbprint","jti")
);
--> statement-breakpoint
CREATE TABLE "audit_entries" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"position" bigint,
	"federation_id" text NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"target" text NOT NULL,
	"details" jsonb NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"previous_hash" text,
	"hash" text
);
--> statement-breakpoint
CREATE TABLE "events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"position" bigint,
	"federation_id" text NOT NULL,
	"type" text NOT NULL,
	"subject" jsonb NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"federation_id" text NOT NULL,
	"principal" text NOT NULL,
	"key" text NOT NULL,
	"request_hash" text NOT NULL,
	"claim" uuid NOT NULL,
	"claimed_at" timestamp (3) with time zone NOT NULL,
	"effect_at" timestamp (3) with time zone,
	"answer" text,
	CONSTRAINT "idempotency_keys_federation_id_principal_key_pk" PRIMARY KEY("federation_id","principal","key")
);
--> statement-breakpoint
CREATE TABLE "blobs" (
	"key" text PRIMARY KEY NOT NULL,
	"state" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "model_versions" (
	"model_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"federation_id" text NOT NULL,
	"parent" integer,
	"round_id" uuid,
	"digest" text NOT NULL,
	"bytes" bigint NOT NULL,
	"blob_key" text NOT NULL,
	"metrics" jsonb NOT NULL,
	"score" jsonb,
	"device_score" jsonb,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "model_versions_model_id_version_pk" PRIMARY KEY("model_id","version")
);
--> statement-breakpoint
CREATE TABLE "models" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"name" text NOT NULL,
	"description" text NOT NULL,
	"manifest" jsonb NOT NULL,
	"parameters" bigint NOT NULL,
	"head" integer,
	"evaluation_key" text,
	"evaluation_digest" text,
	"evaluation_examples" integer,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "catalog_runs" (
	"federation_id" text NOT NULL,
	"name" text NOT NULL,
	"content_hash" text NOT NULL,
	"run_id" uuid,
	"due_at" timestamp (3) with time zone,
	CONSTRAINT "catalog_runs_federation_id_name_pk" PRIMARY KEY("federation_id","name")
);
--> statement-breakpoint
CREATE TABLE "catalogs" (
	"federation_id" text PRIMARY KEY NOT NULL,
	"read_at" timestamp (3) with time zone NOT NULL,
	"faults" jsonb NOT NULL,
	"waiting" jsonb DEFAULT '[]'::jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "release_reports" (
	"model_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"device_id" uuid NOT NULL,
	"federation_id" text NOT NULL,
	"num_examples" bigint NOT NULL,
	"metrics" jsonb NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "release_reports_model_id_version_device_id_pk" PRIMARY KEY("model_id","version","device_id")
);
--> statement-breakpoint
CREATE TABLE "releases" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"model" text NOT NULL,
	"content_hash" text NOT NULL,
	"document" jsonb NOT NULL,
	"state" text NOT NULL,
	"outcome" text,
	"reason" text,
	"step" integer DEFAULT 0 NOT NULL,
	"step_since" timestamp (3) with time zone,
	"version" integer,
	"digest" text,
	"previous" integer,
	"revision" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"activated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "assignments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"round_id" uuid NOT NULL,
	"device_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"state" text NOT NULL,
	"reason" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"settled_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "evaluations" (
	"assignment_id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"round_id" uuid NOT NULL,
	"num_examples" bigint NOT NULL,
	"metrics" jsonb NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "rounds" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"run_id" uuid NOT NULL,
	"model_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"number" integer NOT NULL,
	"state" text NOT NULL,
	"base_version" integer NOT NULL,
	"version" integer,
	"seed" integer NOT NULL,
	"quorum" integer NOT NULL,
	"capacity" integer NOT NULL,
	"target" integer DEFAULT 0 NOT NULL,
	"invited" integer DEFAULT 0 NOT NULL,
	"open_assignments" integer DEFAULT 0 NOT NULL,
	"accepted" integer DEFAULT 0 NOT NULL,
	"dropped" integer DEFAULT 0 NOT NULL,
	"population" integer DEFAULT 0 NOT NULL,
	"reason" text,
	"metrics" jsonb,
	"opened_at" timestamp (3) with time zone NOT NULL,
	"pending_until" timestamp (3) with time zone NOT NULL,
	"collecting_at" timestamp (3) with time zone,
	"deadline_at" timestamp (3) with time zone,
	"closed_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "rounds_capacity" CHECK ("rounds"."accepted" <= "rounds"."capacity"),
	CONSTRAINT "rounds_assignments" CHECK ("rounds"."open_assignments" >= 0)
);
--> statement-breakpoint
CREATE TABLE "runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"name" text NOT NULL,
	"model_id" uuid NOT NULL,
	"state" text NOT NULL,
	"settings" jsonb NOT NULL,
	"completed_rounds" integer DEFAULT 0 NOT NULL,
	"failed_in_a_row" integer DEFAULT 0 NOT NULL,
	"last_round" integer DEFAULT 0 NOT NULL,
	"end_at" timestamp (3) with time zone,
	"reason" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "updates" (
	"assignment_id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"round_id" uuid NOT NULL,
	"device_id" uuid NOT NULL,
	"sequence" integer NOT NULL,
	"state" text NOT NULL,
	"reason" text,
	"digest" text NOT NULL,
	"seal" text NOT NULL,
	"bytes" bigint NOT NULL,
	"blob_key" text NOT NULL,
	"num_examples" bigint NOT NULL,
	"weight" double precision NOT NULL,
	"norm" double precision NOT NULL,
	"scalars" jsonb NOT NULL,
	"metrics" jsonb NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	"retained_until" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "upload_parts" (
	"upload_id" uuid NOT NULL,
	"start" bigint NOT NULL,
	"bytes" bigint NOT NULL,
	"blob_key" text NOT NULL,
	CONSTRAINT "upload_parts_upload_id_start_pk" PRIMARY KEY("upload_id","start")
);
--> statement-breakpoint
CREATE TABLE "uploads" (
	"id" uuid PRIMARY KEY NOT NULL,
	"federation_id" text NOT NULL,
	"assignment_id" uuid NOT NULL,
	"device_id" uuid NOT NULL,
	"digest" text NOT NULL,
	"bytes" bigint NOT NULL,
	"offset" bigint DEFAULT 0 NOT NULL,
	"complete" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "checkpoints" ADD CONSTRAINT "checkpoints_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "leases" ADD CONSTRAINT "leases_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "device_keys" ADD CONSTRAINT "device_keys_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "devices" ADD CONSTRAINT "devices_enrollment_token_id_enrollment_tokens_id_fk" FOREIGN KEY ("enrollment_token_id") REFERENCES "public"."enrollment_tokens"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "model_versions" ADD CONSTRAINT "model_versions_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "catalog_runs" ADD CONSTRAINT "catalog_runs_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "release_reports" ADD CONSTRAINT "release_reports_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "release_reports" ADD CONSTRAINT "release_reports_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "assignments" ADD CONSTRAINT "assignments_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "assignments" ADD CONSTRAINT "assignments_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "evaluations" ADD CONSTRAINT "evaluations_assignment_id_assignments_id_fk" FOREIGN KEY ("assignment_id") REFERENCES "public"."assignments"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "rounds" ADD CONSTRAINT "rounds_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "updates" ADD CONSTRAINT "updates_assignment_id_assignments_id_fk" FOREIGN KEY ("assignment_id") REFERENCES "public"."assignments"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "updates" ADD CONSTRAINT "updates_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "upload_parts" ADD CONSTRAINT "upload_parts_upload_id_uploads_id_fk" FOREIGN KEY ("upload_id") REFERENCES "public"."uploads"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "uploads" ADD CONSTRAINT "uploads_assignment_id_assignments_id_fk" FOREIGN KEY ("assignment_id") REFERENCES "public"."assignments"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "device_keys_device" ON "device_keys" USING btree ("device_id");--> statement-breakpoint
CREATE INDEX "devices_present" ON "devices" USING btree ("federation_id","state","last_seen_at");--> statement-breakpoint
CREATE INDEX "devices_page" ON "devices" USING btree ("federation_id","id");--> statement-breakpoint
CREATE INDEX "devices_to_erase" ON "devices" USING btree ("id") WHERE "devices"."erase_requested_at" is not null and "devices"."erased_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "enrollment_tokens_secret" ON "enrollment_tokens" USING btree ("secret_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "operator_keys_secret" ON "operator_keys" USING btree ("secret_hash");--> statement-breakpoint
CREATE INDEX "used_assertions_expiry" ON "used_assertions" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "audit_position" ON "audit_entries" USING btree ("position");--> statement-breakpoint
CREATE INDEX "audit_unnumbered" ON "audit_entries" USING btree ("id") WHERE "audit_entries"."position" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "events_position" ON "events" USING btree ("position");--> statement-breakpoint
CREATE INDEX "events_unnumbered" ON "events" USING btree ("id") WHERE "events"."position" is null;--> statement-breakpoint
CREATE INDEX "idempotency_age" ON "idempotency_keys" USING btree ("claimed_at");--> statement-breakpoint
CREATE INDEX "blobs_unsettled" ON "blobs" USING btree ("state","created_at") WHERE "blobs"."state" <> 'live';--> statement-breakpoint
CREATE UNIQUE INDEX "model_versions_round" ON "model_versions" USING btree ("round_id");--> statement-breakpoint
CREATE INDEX "model_versions_digest" ON "model_versions" USING btree ("model_id","digest");--> statement-breakpoint
CREATE INDEX "model_versions_unscored" ON "model_versions" USING btree ("model_id","version") WHERE "model_versions"."score" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "models_name" ON "models" USING btree ("federation_id","name");--> statement-breakpoint
CREATE INDEX "catalog_runs_run" ON "catalog_runs" USING btree ("run_id");--> statement-breakpoint
CREATE INDEX "release_reports_device" ON "release_reports" USING btree ("device_id");--> statement-breakpoint
CREATE INDEX "release_reports_age" ON "release_reports" USING btree ("received_at");--> statement-breakpoint
CREATE UNIQUE INDEX "releases_content" ON "releases" USING btree ("federation_id","model","content_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "releases_one_a_model" ON "releases" USING btree ("federation_id","model") WHERE "releases"."state" <> 'superseded';--> statement-breakpoint
CREATE INDEX "releases_page" ON "releases" USING btree ("federation_id","id");--> statement-breakpoint
CREATE UNIQUE INDEX "assignments_one_open" ON "assignments" USING btree ("device_id","kind") WHERE "assignments"."state" = 'open';--> statement-breakpoint
CREATE UNIQUE INDEX "assignments_device" ON "assignments" USING btree ("round_id","device_id");--> statement-breakpoint
CREATE INDEX "evaluations_round" ON "evaluations" USING btree ("round_id");--> statement-breakpoint
CREATE UNIQUE INDEX "rounds_number" ON "rounds" USING btree ("run_id","kind","number");--> statement-breakpoint
CREATE UNIQUE INDEX "rounds_one_open" ON "rounds" USING btree ("run_id","kind") WHERE "rounds"."state" in ('pending', 'collecting', 'aggregating');--> statement-breakpoint
CREATE INDEX "rounds_open" ON "rounds" USING btree ("state") WHERE "rounds"."state" in ('pending', 'collecting', 'aggregating');--> statement-breakpoint
CREATE UNIQUE INDEX "runs_one_a_model" ON "runs" USING btree ("model_id") WHERE "runs"."state" in ('active', 'paused');--> statement-breakpoint
CREATE INDEX "runs_active" ON "runs" USING btree ("state") WHERE "runs"."state" in ('active', 'paused');--> statement-breakpoint
CREATE INDEX "runs_page" ON "runs" USING btree ("federation_id","id");--> statement-breakpoint
CREATE UNIQUE INDEX "updates_sequence" ON "updates" USING btree ("round_id","sequence");--> statement-breakpoint
CREATE INDEX "updates_device" ON "updates" USING btree ("device_id");--> statement-breakpoint
CREATE INDEX "updates_retained" ON "updates" USING btree ("federation_id","retained_until") WHERE "updates"."retained_until" is not null;--> statement-breakpoint
CREATE INDEX "uploads_expiry" ON "uploads" USING btree ("expires_at");