-- A consumer reads on one connection while it renews its leases on another. Every statement that changes several
-- cursors locks them in the order of their partitions first: with locks in two orders they would deadlock.

CREATE OR REPLACE FUNCTION bus_renew(p_topic text, p_group text, p_owner uuid, p_lease interval)
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
  PERFORM FROM bus_cursors WHERE topic = p_topic AND consumer_group = p_group AND owner = p_owner
  ORDER BY partition FOR UPDATE;
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
