-- How results are acknowledged: one call, hence one exchange and one commit.
-- In READ COMMITTED each statement of such a function sees what was committed before it began: those that follow the lock
-- on the round's row see all that happened until that was granted.
-- Their plans are made once a session; by its own estimate PostgreSQL would make new ones for each call, which adds half of
-- what the statements cost. They are kept even where they were made for tables that were nearly empty. So no table is ever
-- read whole (`enable_seqscan`), and rows are looked for by their keys alone: a state with `|| ''` is in no index, else that
-- of the open ones would be read whole; a scalar subquery is asked for each row, where EXISTS may become a join with all.

-- Counts `added` more results of a collecting round, up to its capacity and before its deadline. The row is locked first,
-- by a statement that reads nothing else, so that it decides by the row as it is then: two posters that race for the last
-- place serialise on it; counting rows instead would let rounds get stuck. The round closes if it is full, or if nobody is
-- at work any longer and there are as many as it aimed at. One UPDATE moves all: a second one of the same row would have
-- its foreign keys checked, and with that lock its run after the round, against the order of locks. No row: the round has
-- moved on.
CREATE FUNCTION take_places(round uuid, added int, at_time timestamptz)
RETURNS TABLE (last int, state text, open int)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
  closes boolean;
BEGIN
  -- Unless there are so many open assignments, one of these is settled, too: it may have been given back a moment ago.
  SELECT rounds.accepted + added >= rounds.capacity
    OR (rounds.open_assignments = added AND rounds.accepted + added >= rounds.target)
  INTO closes FROM rounds
  WHERE rounds.id = round AND rounds.state || '' = 'collecting' AND rounds.accepted + added <= rounds.capacity
    AND rounds.open_assignments >= added AND rounds.deadline_at > at_time
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  UPDATE rounds SET
    accepted = rounds.accepted + added,
    open_assignments = CASE WHEN closes THEN 0 ELSE rounds.open_assignments - added END,
    state = CASE WHEN closes THEN 'aggregating' ELSE rounds.state END,
    closed_at = CASE WHEN closes THEN at_time END
  WHERE rounds.id = round
  RETURNING rounds.accepted, rounds.state, rounds.open_assignments INTO last, state, open;
  RETURN NEXT;
END
$$;
--> statement-breakpoint
-- Accepts written updates of one round in their order, all or none. Returns the place of the last; null where the round
-- has moved on. Raises FE001 where an assignment, its device or a blob has. Workers are woken when the round has filled or
-- nobody is at work any longer: never for every update.
CREATE FUNCTION accept_updates(
  round uuid, added int, at_time timestamptz, assignment_ids uuid[], blob_keys text[], given jsonb
)
RETURNS int
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
  place record;
  settled int;
  alive int;
BEGIN
  SELECT * INTO place FROM take_places(round, added, at_time);
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  UPDATE assignments SET state = 'accepted', settled_at = at_time
  WHERE assignments.id = ANY (assignment_ids) AND assignments.state || '' = 'open'
    AND (
      SELECT devices.state FROM devices
      WHERE devices.id = assignments.device_id AND devices.federation_id = assignments.federation_id
    ) = 'active';
  GET DIAGNOSTICS settled = ROW_COUNT;
  UPDATE blobs SET state = 'live' WHERE blobs.key = ANY (blob_keys) AND blobs.state || '' = 'writing';
  GET DIAGNOSTICS alive = ROW_COUNT;
  IF settled <> added OR alive <> added THEN
    RAISE EXCEPTION 'an update can no longer be accepted' USING ERRCODE = 'FE001';
  END IF;
  INSERT INTO updates (
    assignment_id, federation_id, round_id, device_id, sequence, state, digest, seal, bytes, blob_key, num_examples,
    weight, norm, scalars, metrics, received_at
  )
  SELECT
    "assignmentId", "federationId", "roundId", "deviceId", place.last - added + number, 'accepted', digest, seal, bytes,
    "blobKey", "numExamples", weight, norm, scalars, metrics, "receivedAt"
  FROM jsonb_to_recordset(given) AS accepted (
    "assignmentId" uuid, "federationId" text, "roundId" uuid, "deviceId" uuid, number int, digest text, seal text,
    bytes bigint, "blobKey" text, "numExamples" bigint, weight float8, norm float8, scalars jsonb, metrics jsonb,
    "receivedAt" timestamptz
  );
  IF place.state = 'aggregating' THEN
    UPDATE assignments SET state = 'expired', reason = 'round_closed', settled_at = at_time
    WHERE assignments.round_id = round AND assignments.state || '' = 'open';
  END IF;
  IF place.open = 0 THEN
    PERFORM pg_notify('fededge_work', '');
  END IF;
  RETURN place.last;
END
$$;
