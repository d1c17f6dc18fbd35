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

-- Appends records in the caller's transaction. The arrays run in parallel; `p_records` holds JSON `[key, value]`.
CREATE FUNCTION bus_publish(p_topic text, p_partitions integer[], p_records text[]) RETURNS void LANGUAGE sql AS $$
  WITH batches AS MATERIALIZED (
    SELECT partition, count(*)::integer AS record_count, '[' || string_agg(record, ',' ORDER BY ord) || ']' AS records
    FROM unnest(p_partitions, p_records) WITH ORDINALITY AS r (partition, record, ord)
    GROUP BY partition
  ), locked AS MATERIALIZED (
    SELECT partition FROM bus_heads
    WHERE topic = p_topic AND partition IN (SELECT partition FROM batches)
    ORDER BY partition FOR UPDATE
  ), moved AS (
    UPDATE bus_heads h SET next_offset = h.next_offset + b.record_count
    FROM batches b JOIN locked USING (partition)
    WHERE h.topic = p_topic AND h.partition = b.partition
    RETURNING h.partition, h.next_offset - 1 AS last_offset, b.record_count, b.records
  )
  INSERT INTO bus_records (segment, topic, partition, last_offset, record_count, records)
  SELECT (SELECT active FROM bus_segments), p_topic, partition, last_offset, record_count, records FROM moved
$$;
