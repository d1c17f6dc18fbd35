-- The rows that were there before the foreign keys of migration 0023. Others read and write meanwhile.
DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT conrelid::regclass AS of_table, conname FROM pg_constraint
    WHERE connamespace = current_schema()::regnamespace AND contype = 'f' AND NOT convalidated
  LOOP
    EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', found.of_table, found.conname);
  END LOOP;
END
$$;
