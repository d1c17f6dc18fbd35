-- Files that people send on a platform: `receiving` until the hub has fetched their bytes.
ALTER TABLE files
  DROP CONSTRAINT files_status_check,
  ADD CONSTRAINT files_status_check CHECK (status IN ('uploading', 'receiving', 'completed', 'rejected', 'deleted')),
  -- Of a received file: `channel_account_id`, the platform's `reference`, and the `checksum` that the platform gave.
  ADD COLUMN source jsonb;
