-- A password reset ends with what it was made for: when the user gets another role or e-mail address, or is disabled or
-- enabled again, and so does one that was made by an admin to whom that happens. Whatever code makes the change.
CREATE FUNCTION end_password_resets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE password_resets SET used_at = clock_timestamp()
   WHERE (user_id = NEW.user_id OR requested_by = NEW.user_id) AND used_at IS NULL;
  RETURN NULL;
END
$$;
CREATE TRIGGER end_password_resets AFTER UPDATE OF role, email, disabled_at ON users FOR EACH ROW
  WHEN ((OLD.role, OLD.email, OLD.disabled_at) IS DISTINCT FROM (NEW.role, NEW.email, NEW.disabled_at))
  EXECUTE FUNCTION end_password_resets();
CREATE INDEX password_resets_by_requester ON password_resets (requested_by);

-- When the password was last set: keys made since may be of somebody who knew it. Null: when the user was made.
ALTER TABLE users ADD COLUMN password_changed_at timestamptz;
