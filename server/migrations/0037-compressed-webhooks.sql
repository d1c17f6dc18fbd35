-- The bytes of a body that is stored as gzip; null for one that is stored as it came. What a platform says about many
-- messages at once repeats itself: it takes a fifth of the space, and of the write-ahead log.
ALTER TABLE webhooks ADD COLUMN body_size integer;
