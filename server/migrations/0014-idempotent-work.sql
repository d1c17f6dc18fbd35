-- What a request with an `Idempotency-Key` makes gets the same ids at every try: a try after the process died between the
-- commit of the work and the answer finds what is there already.
ALTER TABLE idempotency_keys ADD COLUMN work_id uuid NOT NULL DEFAULT gen_random_uuid();
