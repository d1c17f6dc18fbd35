-- What a step could not handle, four times and by the record's own fault, is a dead letter: it is shown, and a replay puts
-- it back on the bus.
--
--   a message that could not be routed   a delivery on the channel `none` that failed with ROUTING_FAILED, so the message is
--                                        `failed`; `unrouted` is the record of the bus
--   a webhook that could not be read     `webhooks.failed_at`; it is kept until it is replayed or discarded
--
-- Before, both ended in bus_dead_records, which nothing read.

ALTER TABLE deliveries ADD COLUMN unrouted jsonb;
-- The recipient's next channel was tried instead: it is that delivery which counts, and this one is no dead letter.
ALTER TABLE deliveries ADD COLUMN is_superseded boolean NOT NULL DEFAULT false;

ALTER TABLE webhooks ADD COLUMN failed_at timestamptz;
CREATE INDEX failed_webhooks ON webhooks (workspace_id, failed_at DESC, webhook_id DESC) WHERE failed_at IS NOT NULL;
GRANT UPDATE (failed_at) ON webhooks TO chat4all_api;

INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, status,
  is_pending, route, error, is_dead_letter, failed_at, history, created_at, unrouted)
SELECT gen_random_uuid(), m.workspace_id, m.message_id, m.conversation_id, m.seq, m.sender_id, 'none', 'failed', false,
  'the hub could not route it', '{"code": "ROUTING_FAILED", "message": "The hub could not route this message."}', true,
  r.died_at, jsonb_build_array(jsonb_build_object('status', 'failed', 'at', r.died_at, 'cause', 'ROUTING_FAILED')),
  r.died_at, r.value
FROM bus_dead_records r JOIN messages m ON m.message_id = (r.value ->> 'messageId')::uuid
WHERE r.topic = 'message_processing';

UPDATE webhooks w SET failed_at = r.died_at, error = 'The hub could not read this webhook.'
FROM bus_dead_records r WHERE r.topic = 'inbound' AND w.webhook_id = (r.value ->> 'webhookId')::uuid;

DROP TABLE bus_dead_records;
