import { webhookEndpoints } from "../../../contract/src/webhook-endpoints.ts";
import { invalid } from "../errors.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import {
  changeEndpoint,
  createEndpoint,
  type EndpointDeps,
  findEndpoint,
  listAttempts,
  listEndpoints,
  removeEndpoint,
  replayAttempt,
  replayRange,
  rotateSecret,
  type Tester,
  type WebhookEndpoint,
} from "../webhook-endpoints/webhook-endpoints.ts";

interface WebhookEndpointRoutesDeps extends EndpointDeps {
  tester: Tester;
}

/** `/v1/webhook-endpoints`: programs that receive the events of the workspace by HTTP. */
export function webhookEndpointRoutes(app: App, deps: WebhookEndpointRoutesDeps): void {
  route(app, webhookEndpoints.createWebhookEndpoint, async ({ principal, db, body }) => {
    const { secret, ...made } = await createEndpoint(deps, db, principal, body);
    return { ...showEndpoint(made), secret };
  });

  route(app, webhookEndpoints.listWebhookEndpoints, async ({ principal, db, query: { limit = 50, cursor } }) => {
    const rows = await listEndpoints(db, principal.workspaceId, { limit, after: decodeCursor(cursor) });
    return toPage(rows, limit, showEndpoint, (row) => ({ at: row.created_at, id: row.webhook_endpoint_id }));
  });

  route(app, webhookEndpoints.getWebhookEndpoint, async ({ principal, db, params }) =>
    showEndpoint(await findEndpoint(db, keyOf(principal, params))),
  );

  route(
    app,
    webhookEndpoints.updateWebhookEndpoint,
    async ({ principal, db, params: { id }, body: { ordered, ...body } }) =>
      showEndpoint(await changeEndpoint(deps, db, principal, id, { ...body, isOrdered: ordered })),
  );

  route(app, webhookEndpoints.deleteWebhookEndpoint, ({ principal, db, params }) =>
    removeEndpoint(db, principal, params.id),
  );

  route(app, webhookEndpoints.rotateWebhookSecret, async ({ principal, db, params, body }) => {
    const overlapMs = (body.overlap_seconds ?? 86_400) * 1_000;
    const { secret, ...changed } = await rotateSecret(deps, db, principal, params.id, overlapMs);
    return { ...showEndpoint(changed), secret };
  });

  route(app, webhookEndpoints.testWebhookEndpoint, ({ principal, db, params }) =>
    deps.tester.test(db, keyOf(principal, params)),
  );

  route(
    app,
    webhookEndpoints.listWebhookAttempts,
    async ({ principal, db, params, query: { limit = 50, cursor, status } }) => {
      const key = keyOf(principal, params);
      await findEndpoint(db, key);
      const rows = await listAttempts(db, key, { limit, status, after: decodeCursor(cursor) });
      return toPage(
        rows,
        limit,
        (row) => row,
        (row) => ({ at: new Date(row.started_at), id: row.attempt_id }),
      );
    },
  );

  route(app, webhookEndpoints.replayWebhookAttempt, async ({ principal, db, params }) => {
    const webhook_id = await replayAttempt(deps, db, principal, keyOf(principal, params), params.attempt_id);
    return { replayed: 1, webhook_id };
  });

  route(app, webhookEndpoints.replayWebhookEvents, async ({ principal, db, params, body }) => {
    const from = new Date(body.from);
    const to = body.to === undefined ? new Date(deps.clock.now()) : new Date(body.to);
    if (!(from < to)) throw invalid("from must be before to.", { field: "from" });
    const range = { from, to, events: body.events };
    const { replayed, nextFrom } = await replayRange(deps, db, principal, keyOf(principal, params), range);
    return { replayed, next_from: nextFrom?.toISOString() ?? null };
  });
}

function showEndpoint(row: WebhookEndpoint) {
  const { webhook_endpoint_id, url, events, description, status, disabled_reason } = row;
  return {
    webhook_endpoint_id,
    url,
    events,
    description,
    ordered: row.is_ordered,
    status,
    disabled_at: row.disabled_at?.toISOString() ?? null,
    disabled_reason,
    failing_since: row.failing_since?.toISOString() ?? null,
    old_secret_until: row.old_secret_until?.toISOString() ?? null,
    made_by: row.made_by,
    made_by_key_id: row.made_by_key,
    created_at: row.created_at.toISOString(),
  };
}

function keyOf({ workspaceId }: { workspaceId: string }, { id }: { id: string }) {
  return { workspaceId, endpointId: id };
}
