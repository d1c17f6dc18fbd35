-- The bus: a partitioned, keyed, at-least-once log.
--
-- A publisher takes its offsets from the partition's head under a row lock that it holds until it commits, so
-- offsets are gapless and become visible in order: a reader never skips a record of a slower transaction, and two
-- records of one key keep the order in which their publishers committed. Publish last, and commit soon after.
--
-- Records are stored by the batch, one row for each publish and partition, in three segments by turns. A segment
-- whose records were all consumed is truncated: nothing is deleted row by row, so nothing is left to vacuum.

CREATE TABLE bus_heads (
  topic       text NOT NULL,
  partition   integer NOT NULL,
  next_offset bigint NOT NULL DEFAULT 1,
  PRIMARY KEY (topic, partition)
) WITH (fillfactor = 10);

CREATE TABLE bus_segments (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  active   smallint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO bus_segments (active) VALUES (0);

CREATE TABLE bus_records (
  segment      smallint NOT NULL,
  topic        text NOT NULL,
  partition    integer NOT NULL,
  last_offset  bigint NOT NULL,
  record_count integer NOT NULL,
  records      text NOT NULL, -- a JSON array of [key, value] pairs, oldest first
  published_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY LIST (segment);
CREATE TABLE bus_records_0 PARTITION OF bus_records FOR VALUES IN (0);
CREATE TABLE bus_records_1 PARTITION OF bus_records FOR VALUES IN (1);
CREATE TABLE bus_records_2 PARTITION OF bus_records FOR VALUES IN (2);
-- Gone in seconds: compressing it would be work for nothing.
ALTER TABLE bus_records_0 ALTER COLUMN records SET STORAGE EXTERNAL;
ALTER TABLE bus_records_1 ALTER COLUMN records SET STORAGE EXTERNAL;
ALTER TABLE bus_records_2 ALTER COLUMN records SET STORAGE EXTERNAL;
CREATE INDEX bus_records_by_offset ON bus_records (topic, partition, last_offset);

-- Where a consumer group stands, and who may move it. `epoch` rises with every new owner and fences the old one.
CREATE TABLE bus_cursors (
  topic            text NOT NULL,
  consumer_group   text NOT NULL,
  partition        integer NOT NULL,
  consumed_offset  bigint NOT NULL DEFAULT 0,
  owner            uuid,
  epoch            bigint NOT NULL DEFAULT 0,
  lease_expires_at timestamptz,
  PRIMARY KEY (topic, consumer_group, partition)
) WITH (fillfactor = 10);

-- Who consumes what, renewed with the leases: partitions are shared out evenly among the living.
CREATE TABLE bus_consumers (
  topic          text NOT NULL,
  consumer_group text NOT NULL,
  owner          uuid NOT NULL,
  expires_at     timestamptz NOT NULL,
  PRIMARY KEY (topic, consumer_group, owner)
) WITH (fillfactor = 10);

-- Records that no handler could take, after several tries: kept aside so that those behind them go on.
CREATE TABLE bus_dead_records (
  topic          text NOT NULL,
  consumer_group text NOT NULL,
  partition      integer NOT NULL,
  record_offset  bigint NOT NULL,
  key            text NOT NULL,
  value          jsonb NOT NULL,
  error          text NOT NULL,
  died_at        timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, consumer_group, partition, record_offset)
);

-- Appends records in the caller's transaction, by partition: how many, and as a JSON array of `[key, value]` pairs.
CREATE FUNCTION bus_append(p_topic text, p_partitions integer[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  appended integer;
BEGIN
  WITH batches AS MATERIALIZED (
    SELECT * FROM unnest(p_partitions, p_counts, p_batches) AS b (partition, record_count, records)
  ), locked AS MATERIALIZED (
    SELECT partition FROM bus_heads
    WHERE topic = p_topic AND partition = ANY (p_partitions)
    ORDER BY partition FOR UPDATE
  ), moved AS (
    UPDATE bus_heads h SET next_offset = h.next_offset + b.record_count
    FROM batches b JOIN locked USING (partition)
    WHERE h.topic = p_topic AND h.partition = b.partition
    RETURNING h.partition, h.next_offset - 1 AS last_offset, b.record_count, b.records
  )
  INSERT INTO bus_records (segment, topic, partition, last_offset, record_count, records)
  SELECT (SELECT active FROM bus_segments), p_topic, partition, last_offset, record_count, records FROM moved;
  GET DIAGNOSTICS appended = ROW_COUNT;
  IF appended <> cardinality(p_partitions) THEN
    RAISE EXCEPTION 'bus topic % has no such partition', p_topic;
  END IF;
END
$$;

-- The same for records one by one: the arrays run in parallel, `p_records` holds JSON `[key, value]`.
CREATE FUNCTION bus_publish(p_topic text, p_partitions integer[], p_records text[]) RETURNS void
LANGUAGE sql AS $$
  SELECT bus_append(p_topic, array_agg(partition), array_agg(record_count), array_agg(records)) FROM (
    SELECT partition, count(*)::integer AS record_count, '[' || string_agg(record, ',' ORDER BY ord) || ']' AS records
    FROM unnest(p_partitions, p_records) WITH ORDINALITY AS r (partition, record, ord)
    GROUP BY partition
  ) b HAVING count(*) > 0
$$;

-- One tick of a consumer: says that it lives, renews its leases, gives back what is over its fair share and takes over
-- what is free or expired. Returns all that it owns now, and how many consume the topic, in any group. Database time only, so clocks need not agree.
CREATE FUNCTION bus_renew(p_topic text, p_group text, p_owner uuid, p_lease interval)
RETURNS TABLE (partition integer, epoch bigint, consumed_offset bigint, consumers integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  living integer;
  share integer;
  owned integer;
  listening integer;
BEGIN
  INSERT INTO bus_consumers VALUES (p_topic, p_group, p_owner, now() + p_lease)
  ON CONFLICT (topic, consumer_group, owner) DO UPDATE SET expires_at = excluded.expires_at;
  DELETE FROM bus_consumers WHERE topic = p_topic AND consumer_group = p_group AND expires_at < now();
  SELECT count(*) INTO living FROM bus_consumers WHERE topic = p_topic AND consumer_group = p_group;
  SELECT ceil(count(*)::numeric / living) INTO share FROM bus_cursors WHERE topic = p_topic AND consumer_group = p_group;
  UPDATE bus_cursors SET lease_expires_at = now() + p_lease
  WHERE topic = p_topic AND consumer_group = p_group AND owner = p_owner;
  GET DIAGNOSTICS owned = ROW_COUNT;
  IF owned > share THEN
    UPDATE bus_cursors SET owner = NULL, lease_expires_at = NULL
    WHERE (topic, consumer_group, partition) IN (
      SELECT c.topic, c.consumer_group, c.partition FROM bus_cursors c
      WHERE c.topic = p_topic AND c.consumer_group = p_group AND c.owner = p_owner
      ORDER BY c.partition DESC LIMIT owned - share);
  ELSIF owned < share THEN
    UPDATE bus_cursors SET owner = p_owner, epoch = bus_cursors.epoch + 1, lease_expires_at = now() + p_lease
    WHERE (topic, consumer_group, partition) IN (
      SELECT c.topic, c.consumer_group, c.partition FROM bus_cursors c
      WHERE c.topic = p_topic AND c.consumer_group = p_group AND (c.owner IS NULL OR c.lease_expires_at < now())
      ORDER BY c.partition LIMIT share - owned FOR UPDATE SKIP LOCKED);
  END IF;
  SELECT count(*) INTO listening FROM bus_consumers WHERE topic = p_topic AND expires_at >= now();
  RETURN QUERY SELECT c.partition, c.epoch, c.consumed_offset, listening FROM bus_cursors c
    WHERE c.topic = p_topic AND c.consumer_group = p_group AND c.owner = p_owner;
END
$$;

-- The partitions that this owner still holds: for statements that must not run once another may have taken over.
CREATE FUNCTION bus_held(p_topic text, p_group text, p_owner uuid) RETURNS SETOF integer
LANGUAGE sql STABLE AS $$
  SELECT partition FROM bus_cursors
  WHERE topic = p_topic AND consumer_group = p_group AND owner = p_owner AND lease_expires_at > now()
$$;
