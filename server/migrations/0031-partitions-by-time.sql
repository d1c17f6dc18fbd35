-- Tables that grow with every message, in partitions by the time of their ids: a look-up by id reads one partition, and what
-- is too old is dropped with its indexes instead of being deleted row by row.
--
-- An id holds its time in its first 48 bits (UUIDv7, and the derived ids of the same form). Clients may send message ids of
-- any form, so every table has a partition `<table>_others` for the ids that no other holds; old rows are deleted from it
-- in batches. It is also the model for new partitions: their columns, indexes and storage parameters.
--
-- The hub makes partitions ahead, when it starts and as a maintenance job (`lib/partitions.ts`). Only the owner of the schema
-- can make and drop them, so that job calls functions with the rights of the owner. Partitions are not granted to any role.

-- The first and the last id of a millisecond. Not strict, so that they are inlined.
CREATE FUNCTION first_id_at(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(floor(extract(epoch FROM p_at - 'epoch'::timestamptz) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid;
CREATE FUNCTION last_id_at(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(floor(extract(epoch FROM p_at - 'epoch'::timestamptz) * 1000)::bigint), 12, '0') || 'ffffffffffffffffffff')::uuid;

-- `age` is when a row was written, which its id need not say. Conditions about a row `t`: where `is_kept` holds ($1 is
-- the end of the partition), it outlives its partition, in `<table>_others`; where `is_needed` holds, the partition stays.
CREATE TABLE partitioned_tables (
  table_name name PRIMARY KEY,
  key_column name NOT NULL,
  age        text NOT NULL,
  is_kept    text NOT NULL,
  is_needed  text NOT NULL
);
REVOKE ALL ON partitioned_tables FROM chat4all_pipeline;

-- The partitions with bounds, by time. `from_id` is null in one without a beginning; `until_id` is the first id that is too
-- late for it.
CREATE FUNCTION partitions_by_time(p_table name) RETURNS TABLE (name name, from_id uuid, until_id uuid)
LANGUAGE sql STABLE AS $$
  SELECT * FROM (
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([0-9a-f-]+)''\)')::uuid,
      substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9a-f-]+)''\)')::uuid AS until_id
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = p_table::regclass
  ) partitions WHERE until_id IS NOT NULL ORDER BY until_id
$$;

-- The start of the week, month, quarter or year (UTC) of a time, or of a later one.
CREATE FUNCTION start_of_period(p_period text, p_at timestamptz, p_later integer DEFAULT 0) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
RETURN (date_trunc(p_period, p_at AT TIME ZONE 'UTC')
  + p_later * CASE p_period WHEN 'quarter' THEN '3 months' ELSE '1 ' || p_period END::interval) AT TIME ZONE 'UTC';

-- The partition to make next, until the period of `p_at` and the one after it have theirs.
CREATE FUNCTION next_partition(p_table name, p_period text, p_at timestamptz)
RETURNS TABLE (from_at timestamptz, until_at timestamptz) LANGUAGE sql STABLE AS $$
  SELECT f.from_at, start_of_period(p_period, f.from_at, 1) FROM (
    SELECT greatest(start_of_period(p_period, p_at), max(time_of_id(until_id))) AS from_at FROM partitions_by_time(p_table)
  ) f WHERE f.from_at <= start_of_period(p_period, p_at, 1)
$$;

CREATE FUNCTION partition_name(p_table name, p_from timestamptz) RETURNS name LANGUAGE sql STABLE
RETURN p_table || '_from_' || to_char(p_from AT TIME ZONE 'UTC', 'YYYYMMDD');

-- Gives a partition the storage parameters of the model, and the policy that lets the owner see its rows; no role gets access.
CREATE PROCEDURE protect_partition(p_partition regclass, p_model regclass) LANGUAGE plpgsql AS $$
DECLARE
  parameters text := (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = p_model);
BEGIN
  IF parameters <> '' THEN
    EXECUTE format('ALTER TABLE %s SET (%s)', p_partition, parameters);
  END IF;
  EXECUTE format('REVOKE ALL ON %s FROM chat4all_api, chat4all_identity, chat4all_pipeline', p_partition);
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_partition);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_partition);
  EXECUTE format('CREATE POLICY of_pipeline ON %s TO chat4all_pipeline USING (true) WITH CHECK (true)', p_partition);
END
$$;

-- Turns a table into a partitioned one with the same name, columns, indexes, triggers, policies and privileges. The rows that
-- are there become its first partition, without being copied, except for those with an id of a later time. An index that
-- is unique without the key is unique in each partition. Later tables that grow with messages call it too.
CREATE PROCEDURE partition_by_time(
  p_table name, p_key name, p_age text, p_is_kept text DEFAULT 'false', p_is_needed text DEFAULT 'false'
) LANGUAGE plpgsql AS $$
DECLARE
  replaced regclass := p_table::regclass;
  first_partition name := p_table || '_first';
  others name := p_table || '_others';
  until_id uuid := first_id_at(start_of_period('month', now(), 1));
  has_rows boolean;
  later text[];
  identity_column name := (SELECT attname FROM pg_attribute WHERE attrelid = replaced AND attidentity <> '');
  next_ordinal bigint;
  functions oid[] := ARRAY(
    SELECT p.oid FROM pg_proc p JOIN pg_type t ON t.typrelid = replaced WHERE t.oid = p.prorettype OR t.oid = ANY (p.proargtypes));
  one record;
BEGIN
  IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND replaced IN (conrelid, confrelid)) THEN
    RAISE EXCEPTION 'table % has foreign keys: partition_by_time does not move them', p_table;
  END IF;
  EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', p_table);
  EXECUTE format('SELECT EXISTS (SELECT FROM %I)', p_table) INTO has_rows;

  -- What must be there again. Policies of other tables may refer to this one.
  later := ARRAY(
    SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, p.polrelid::regclass,
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles WHERE oid = ANY (p.polroles)))
      || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
      || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
    FROM pg_policy p WHERE p.polrelid = replaced OR EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refobjid = replaced)
    ORDER BY p.polrelid = replaced DESC, p.oid)
  || ARRAY(SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = replaced AND NOT tgisinternal ORDER BY oid)
  || ARRAY(
    SELECT format('GRANT %s ON %I TO %I', string_agg(privilege_type, ', '), p_table, grantee::regrole)
    FROM pg_class c CROSS JOIN aclexplode(c.relacl)
    WHERE c.oid = replaced AND grantee <> c.relowner AND grantee <> 0 GROUP BY grantee)
  || ARRAY(
    SELECT format('GRANT %s (%I) ON %I TO %I', privilege_type, attname, p_table, grantee::regrole)
    FROM pg_attribute a CROSS JOIN aclexplode(a.attacl) WHERE a.attrelid = replaced AND NOT attisdropped)
  || ARRAY(
    SELECT CASE
      WHEN k.oid IS NOT NULL THEN format('ALTER TABLE %I ADD CONSTRAINT %I %s', p_table, k.conname, pg_get_constraintdef(k.oid))
      WHEN i.indisunique AND NOT EXISTS (
          SELECT FROM pg_attribute a WHERE a.attrelid = replaced AND a.attname = p_key AND a.attnum = ANY (i.indkey))
        THEN regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE UNIQUE INDEX (\S+) ON \S+',
          format('CREATE UNIQUE INDEX \1_others ON %I', others))
      ELSE pg_get_indexdef(i.indexrelid) END
    FROM pg_index i LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
    WHERE i.indrelid = replaced ORDER BY i.indexrelid);

  -- Functions that take or return its rows: the type of the rows changes with the table.
  later := ARRAY(SELECT pg_get_functiondef(f) FROM unnest(functions) AS f)
    || ARRAY(
      SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', f::regprocedure, grantee::regrole)
      FROM unnest(functions) AS f JOIN pg_proc p ON p.oid = f CROSS JOIN aclexplode(p.proacl) WHERE grantee NOT IN (0, p.proowner))
    || later;
  FOR one IN SELECT f::regprocedure AS signature FROM unnest(functions) AS f LOOP
    EXECUTE format('DROP FUNCTION %s', one.signature);
  END LOOP;
  FOR one IN
    SELECT polname, polrelid::regclass AS of_table FROM pg_policy p WHERE p.polrelid = replaced OR EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refobjid = replaced)
  LOOP
    EXECUTE format('DROP POLICY %I ON %s', one.polname, one.of_table);
  END LOOP;
  FOR one IN SELECT tgname FROM pg_trigger WHERE tgrelid = replaced AND NOT tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, replaced);
  END LOOP;
  IF identity_column IS NOT NULL THEN
    next_ordinal := nextval(pg_get_serial_sequence(p_table, identity_column));
  END IF;
  EXECUTE format('ALTER TABLE %I RENAME TO %I', p_table, first_partition);
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS) PARTITION BY RANGE (%I)',
    p_table, first_partition, p_key);
  IF identity_column IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP IDENTITY', first_partition, identity_column);
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I RESTART WITH %s', p_table, identity_column, next_ordinal);
  END IF;
  FOR one IN SELECT indexrelid::regclass AS old_index, relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE indrelid = replaced
  LOOP
    EXECUTE format('ALTER INDEX %s RENAME TO %I', one.old_index, one.relname || '_first');
  END LOOP;
  EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', p_table);
  EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', p_table);
  EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', others, p_table);
  FOR place IN 1 .. cardinality(later) LOOP
    EXECUTE later[place];
  END LOOP;
  CALL protect_partition(others::regclass, first_partition::regclass);
  IF has_rows THEN
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
      first_partition, p_key, until_id, p_table);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', p_table, first_partition, until_id);
    CALL protect_partition(first_partition::regclass, others::regclass);
  ELSE
    EXECUTE format('DROP TABLE %I', first_partition);
  END IF;
  INSERT INTO partitioned_tables VALUES (p_table, p_key, p_age, p_is_kept, p_is_needed);
END
$$;

-- A partition is made in two transactions, which wait for locks only briefly, and can be repeated after any failure. The
-- first one makes the table, and forbids `<table>_others` further ids of its time, which is still to come. The second one
-- verifies that there are none, without a lock that stops others, and attaches the table without reading anything.
-- When its time has begun, or there are such ids, the second one stops all others while it moves their rows: a statement
-- that waits for `<table>_others` alone would look for them in neither place.
CREATE FUNCTION prepare_partition(p_table name, p_from timestamptz, p_until timestamptz) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
  key_column name := (SELECT t.key_column FROM partitioned_tables t WHERE table_name = p_table);
  made name := partition_name(p_table, p_from);
  others name := p_table || '_others';
  leftover name;
BEGIN
  PERFORM pg_advisory_xact_lock('partitioned_tables'::regclass::integer, 0);
  IF EXISTS (SELECT FROM partitions_by_time(p_table) WHERE until_id > first_id_at(p_from)) THEN
    RETURN;
  END IF;
  FOR leftover IN SELECT conname FROM pg_constraint WHERE conrelid = others::regclass AND conname ~ '^none_of_' LOOP
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', others, leftover);
  END LOOP;
  EXECUTE format('DROP TABLE IF EXISTS %I', made);
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS)', made, others);
  CALL protect_partition(made::regclass, others::regclass);
  IF p_from > now() THEN
    EXECUTE format('ALTER TABLE %1$I ADD CONSTRAINT %2$I CHECK (%3$I < %4$L OR %3$I >= %5$L) NOT VALID',
      others, 'none_of_' || made, key_column, first_id_at(p_from), first_id_at(p_until));
  END IF;
END
$$;

CREATE FUNCTION attach_partition(p_table name, p_from timestamptz, p_until timestamptz) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
  key_column name := (SELECT t.key_column FROM partitioned_tables t WHERE table_name = p_table);
  made name := partition_name(p_table, p_from);
  others name := p_table || '_others';
  is_forbidden boolean := EXISTS (
    SELECT FROM pg_constraint WHERE conrelid = (p_table || '_others')::regclass
      AND conname = 'none_of_' || partition_name(p_table, p_from));
  first_id uuid := first_id_at(p_from);
  last_id uuid := last_id_at(p_until - interval '1 millisecond');
  has_rows boolean;
BEGIN
  PERFORM pg_advisory_xact_lock('partitioned_tables'::regclass::integer, 0);
  IF EXISTS (SELECT FROM partitions_by_time(p_table) WHERE until_id > first_id_at(p_from)) THEN
    RETURN;
  END IF;
  EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %I BETWEEN %L AND %L)', others, key_column, first_id, last_id) INTO has_rows;
  IF has_rows OR NOT is_forbidden THEN
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', p_table);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I BETWEEN %L AND %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
      others, key_column, first_id, last_id, made);
  END IF;
  IF is_forbidden THEN
    EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT %I', others, 'none_of_' || made);
  END IF;
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
    p_table, made, first_id_at(p_from), first_id_at(p_until));
  EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', others, 'none_of_' || made);
END
$$;

-- Drops a partition, unless a row of it is needed. Rows that are kept move to `<table>_others`, without triggers: nothing
-- about them changes. Of too many of them, the partition stays.
CREATE FUNCTION drop_partition(p_table name, p_partition name) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
  most_kept CONSTANT integer := 10000;
  registered partitioned_tables := (SELECT t FROM partitioned_tables t WHERE table_name = p_table);
  others name := p_table || '_others';
  until_at timestamptz;
  kept integer;
  is_needed boolean;
BEGIN
  PERFORM pg_advisory_xact_lock('partitioned_tables'::regclass::integer, 0);
  SELECT time_of_id(until_id) INTO until_at FROM partitions_by_time(p_table) WHERE name = p_partition;
  IF until_at IS NULL THEN
    RETURN true;
  END IF;
  EXECUTE format('SELECT count(*) FROM (SELECT FROM %I t WHERE %s LIMIT %s) k', p_partition, registered.is_kept, most_kept + 1)
    INTO kept USING until_at;
  EXECUTE format('SELECT EXISTS (SELECT FROM %I t WHERE %s)', p_partition, registered.is_needed) INTO is_needed;
  IF is_needed OR kept > most_kept THEN
    RETURN false;
  END IF;
  EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', p_table, p_partition);
  -- From here on nothing changes in it: what became needed meanwhile undoes this.
  EXECUTE format('SELECT EXISTS (SELECT FROM %I t WHERE %s)', p_partition, registered.is_needed) INTO is_needed;
  IF is_needed THEN
    RAISE lock_not_available USING MESSAGE = format('the partition %s is needed again', p_partition);
  END IF;
  EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', others);
  EXECUTE format('INSERT INTO %I SELECT * FROM %I t WHERE %s', others, p_partition, registered.is_kept) USING until_at;
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', others);
  EXECUTE format('DROP TABLE %I', p_partition);
  RETURN true;
END
$$;

-- Deletes old rows from `<table>_others`, or from a partition that is too large to wait for its end; at most `p_most`.
CREATE FUNCTION delete_old_rows(p_table name, p_partition name, p_before timestamptz, p_most integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  registered partitioned_tables := (SELECT t FROM partitioned_tables t WHERE table_name = p_table);
  deleted integer;
BEGIN
  IF p_partition <> p_table || '_others' AND NOT EXISTS (SELECT FROM partitions_by_time(p_table) WHERE name = p_partition) THEN
    RETURN 0;
  END IF;
  EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM %1$I t WHERE %2$s < $1 AND (%3$L OR %4$I < first_id_at($1)) AND NOT (%5$s) AND NOT (%6$s) LIMIT $2))',
    p_partition, registered.age, p_partition = p_table || '_others', registered.key_column, registered.is_kept,
    registered.is_needed) USING p_before, p_most;
  GET DIAGNOSTICS deleted = ROW_COUNT;
  RETURN deleted;
END
$$;

CALL run_as_owner('prepare_partition(name, timestamptz, timestamptz)', 'chat4all_pipeline');
CALL run_as_owner('attach_partition(name, timestamptz, timestamptz)', 'chat4all_pipeline');
CALL run_as_owner('drop_partition(name, name)', 'chat4all_pipeline');
CALL run_as_owner('delete_old_rows(name, name, timestamptz, integer)', 'chat4all_pipeline');

-- Vacuum and statistics come after a share of a partition that is small even in a large one. Old partitions do not change.
ALTER TABLE messages SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE attempts SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE attempt_batches SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- By age: what is kept of a dropped partition, and what is old in `messages_others`.
CREATE INDEX messages_by_age ON messages USING brin (created_at);
CALL partition_by_time('messages', 'message_id', 'created_at', p_is_kept => 'created_at >= $1', p_is_needed =>
  'EXISTS (SELECT FROM deliveries d WHERE d.workspace_id = t.workspace_id AND d.message_id = t.message_id AND d.is_pending)');
-- A delivery's id has the time of its message, by which the deliveries of a message are found in one partition.
UPDATE deliveries d SET delivery_id = (left(first_id_at(m.created_at)::text, 13) || substr(d.delivery_id::text, 14))::uuid
FROM messages m WHERE d.unrouted IS NOT NULL AND m.workspace_id = d.workspace_id AND m.message_id = d.message_id;
CALL partition_by_time('deliveries', 'delivery_id', 'created_at', p_is_needed => 'is_pending');
CALL partition_by_time('attempts', 'delivery_id', 'started_at', p_is_needed =>
  'EXISTS (SELECT FROM deliveries d WHERE d.delivery_id = t.delivery_id AND d.is_pending)');
CALL partition_by_time('attempt_batches', 'batch_id', 'time_of_id(batch_id)');
CALL partition_by_time('webhooks', 'webhook_id', 'received_at', p_is_kept => 'failed_at IS NOT NULL');

-- Ids of the platforms have no time, and a receipt is found by such an id alone: no partitions. By age: what is left of
-- deliveries that are gone.
CREATE INDEX provider_messages_by_age ON provider_messages USING brin (coalesce(delivery_id, message_id));
ALTER TABLE provider_messages SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
