import { testEvent } from "../../../contract/src/events.ts";
import type { WebhookAttempt } from "../../../contract/src/webhook-endpoints.ts";
import type { RequestDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import { newId } from "../lib/ids.ts";
import { type Log, transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type Finished, insertAttempts, noteHealth } from "./attempts.ts";
import { type DisableDeps, disable } from "./disable.ts";
import { type EndpointKey, findSealedEndpoint, refuseUnknown } from "./endpoint-rows.ts";
import { webhookBody } from "./follow.ts";
import { goneStatus, type SendDeps, sendWebhook } from "./send.ts";

type TestDeps = SendDeps & Omit<DisableDeps, "db"> & { log: Log };

/** Tests under way in this process, each as long as an attempt. */
const maxTests = 16;

/** A test is one attempt, now, of an event that is in no feed. Its delivery can be replayed like any other. */
export function openTester(deps: TestDeps) {
  let underWay = 0;

  async function test(db: RequestDb, { workspaceId, endpointId }: EndpointKey): Promise<WebhookAttempt> {
    const { clock, log, eventNotifier } = deps;
    const endpoint = await findSealedEndpoint(db, { workspaceId, endpointId });
    const now = new Date(clock.now());
    const deliveryId = newId(now.getTime());
    const body = webhookBody(testEvent, now, { webhook_endpoint_id: endpointId });
    const outcome = (await sendWebhook(deps, endpoint, { webhook_delivery_id: deliveryId, body }))!;
    const attempt = { deliveryId, workspaceId, endpointId, event: testEvent, number: 1, outcome };
    const finished: Finished = { ...attempt, retryAt: null };
    const attemptId = await transaction(db, async (tx) => {
      const isThere = await run(
        tx,
        `INSERT INTO webhook_deliveries (webhook_delivery_id, workspace_id, webhook_endpoint_id, event, body, status,
           attempts, next_attempt_at, created_at)
         SELECT $1, workspace_id, webhook_endpoint_id, $4, $5, $6, 1, $7, $7
         FROM webhook_endpoints WHERE workspace_id = $2 AND webhook_endpoint_id = $3`,
        [deliveryId, workspaceId, endpointId, testEvent, body, outcome.isSuccess ? "succeeded" : "failed", now],
      );
      if (isThere === 0) refuseUnknown();
      const [id] = await insertAttempts(tx, [finished]);
      await noteHealth(tx, [finished]);
      return id!;
    });
    if (outcome.statusCode === goneStatus) {
      await disable({ db, clock, log, eventNotifier }, { workspaceId, endpointId }, "gone");
    }
    const { isSuccess, statusCode, error, answer, startedAt, durationMs } = outcome;
    return {
      attempt_id: attemptId,
      webhook_endpoint_id: endpointId,
      webhook_id: deliveryId,
      event: testEvent,
      number: 1,
      status: isSuccess ? "succeeded" : "failed",
      status_code: statusCode,
      error,
      answer,
      started_at: startedAt.toISOString(),
      duration_ms: durationMs,
      next_attempt_at: null,
    };
  }

  return {
    /** RESOURCE_NOT_FOUND for an unknown endpoint, OVERLOADED while `maxTests` are under way. */
    async test(db: RequestDb, key: EndpointKey): Promise<WebhookAttempt> {
      if (underWay >= maxTests) {
        throw new RequestError("OVERLOADED", "Too many tests of webhook endpoints are under way: try again.", {
          retryAfterSeconds: 15,
        });
      }
      underWay += 1;
      return test(db, key).finally(() => {
        underWay -= 1;
      });
    },
  };
}

export type Tester = ReturnType<typeof openTester>;
