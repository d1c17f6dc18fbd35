/** Each of the three durable statements of a message's path is one commit; arrays are parallel, one entry a row. */

/** Writes nothing and returns no row when a conversation's facts have another version. */
export const acceptStatement = `
  WITH moved AS MATERIALIZED (
    UPDATE conversations c SET last_seq = c.last_seq + g.steps
    FROM unnest($3::uuid[], $4::int[], $5::int[]) AS g (conversation_id, steps, version)
    WHERE c.conversation_id = g.conversation_id AND c.workspace_id = $2 AND c.facts_version = g.version
    RETURNING c.conversation_id, c.last_seq - g.steps AS base
  ), bases AS MATERIALIZED (
    SELECT jsonb_object_agg(conversation_id, base) AS by_conversation, count(*) = cardinality($3::uuid[]) AS is_whole
    FROM moved
  ), written AS (
    INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, created_at)
    SELECT i.message_id, $2, i.conversation_id, (b.by_conversation ->> i.conversation_id::text)::bigint + i.step,
      $2, 'outbound', i.payload, $1
    FROM bases b, unnest($6::int[], $7::uuid[], $8::uuid[], $9::jsonb[]) AS i (step, message_id, conversation_id, payload)
    WHERE b.is_whole
  ), kept AS (
    INSERT INTO outbox (commit_id, record_count, records) SELECT $10, $11, $12 FROM bases WHERE is_whole
  ), published AS MATERIALIZED (
    SELECT append_events($2, $11, $13) FROM bases WHERE is_whole
  )
  SELECT conversation_id, base::int FROM moved, (SELECT count(*) FROM published) p`;

/** Records the ended attempts, their deliveries, and the attempts that start. */
export const finishStatement = `
  WITH batch AS (
    INSERT INTO attempt_batches VALUES ($2, $3, $1, $4)
  ), named AS (
    INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
    SELECT $5, provider_message_id, delivery_id, message_id
    FROM unnest($14::text[], $6::uuid[], $7::uuid[]) AS n (provider_message_id, delivery_id, message_id)
    ON CONFLICT DO NOTHING
  ), done AS (
    DELETE FROM outbox WHERE commit_id = ANY ($16::bigint[])
  ), sent AS (
    INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, recipient_id, channel_account_id,
      lane_id, seq, status, channel, identifier, provider_message_id, attempt_batch_id, started_at, sent_at)
    SELECT i.delivery_id, $3, i.message_id, i.conversation_id, i.recipient_id, $5,
      i.lane_id, i.seq, 'sent', 'whatsapp', i.identifier, i.provider_message_id, $2, i.started_at, i.sent_at
    FROM unnest($6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[], $11::bigint[], $12::timestamptz[],
        $13::timestamptz[], $14::text[], $15::text[])
      AS i (delivery_id, message_id, conversation_id, recipient_id, lane_id, seq, started_at, sent_at,
        provider_message_id, identifier)
  )
  SELECT append_events($3, $17, $18)`;

const event = (status: string) =>
  `'["s","' || u.conversation_id || '","' || u.message_id || '","' || u.delivery_id || '","' || u.recipient_id || '","' || u.channel || '","' || ${status} || '",null]'`;

/** Keeps webhooks and applies their receipts. A status moves forward only. */
export const receiptsStatement = `
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($5::uuid[], $6::text[], $7::delivery_status[], $8::timestamptz[], $9::timestamptz[])
      AS i (delivery_id, provider_message_id, status, delivered_at, read_at)
  ), kept AS (
    INSERT INTO webhook_batches VALUES ($2, $3, $1, $10, $11)
  ), updated AS (
    UPDATE deliveries d SET status = i.status,
      platform_delivered_at = coalesce(d.platform_delivered_at, i.delivered_at, i.read_at),
      platform_read_at = coalesce(d.platform_read_at, i.read_at),
      delivered_at = coalesce(d.delivered_at, CASE WHEN i.status >= 'delivered' THEN $1 END),
      read_at = coalesce(d.read_at, CASE WHEN i.status = 'read' THEN $1 END),
      delivered_by = coalesce(d.delivered_by, CASE WHEN i.status >= 'delivered' THEN $2 END),
      read_by = coalesce(d.read_by, CASE WHEN i.status = 'read' THEN $2 END)
    FROM input i
    WHERE d.delivery_id = i.delivery_id AND d.channel_account_id = $4
      AND d.provider_message_id = i.provider_message_id AND d.status < i.status
    RETURNING new.conversation_id, new.message_id, new.delivery_id, new.recipient_id, new.channel, new.seq,
      old.status AS was, new.status AS status
  ), published AS MATERIALIZED (
    SELECT count(*)::int + count(*) FILTER (WHERE was < 'delivered' AND status = 'read')::int AS event_count,
      string_agg(
        CASE WHEN u.was < 'delivered' AND u.status = 'read' THEN ${event("'delivered'")} || ',' ELSE '' END
          || ${event("u.status")}, ',' ORDER BY u.seq) AS events
    FROM updated u
  )
  SELECT append_events($3, event_count, '[' || events || ']') FROM published WHERE event_count > 0`;
