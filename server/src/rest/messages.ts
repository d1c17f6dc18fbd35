import { maxEntries, messages } from "../../../contract/src/messages.ts";
import type { Capabilities } from "../connectors/connector.ts";
import { preflight } from "../deliveries/deliveries.ts";
import { fileToSend } from "../files/files.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import { checkSend, prepareMessage, readAuditTrail, readMessage, readTrace } from "../messages/messages.ts";
import { type BatchDeps, batchRoutes, showAccepted } from "./batches.ts";

interface MessageRouteDeps extends BatchDeps {
  capabilitiesOf: (channel: string) => Capabilities | null;
}

export function messageRoutes(app: App, deps: MessageRouteDeps): void {
  const { acceptor, prepare, capabilitiesOf } = deps;

  route(app, messages.sendMessage, async ({ principal, body, workId }, reply) => {
    if (workId !== null) body.message_id ??= workId;
    const message = prepareMessage(prepare, principal, body);
    const [accepted] = await acceptor.accept([message instanceof Promise ? await message : message]);
    if (accepted!.kind === "refused") throw accepted!.error;
    if (accepted!.isReplayed) reply.header("idempotent-replayed", "true");
    return showAccepted(accepted!);
  });

  batchRoutes(app, deps);

  route(app, messages.preflightMessage, async ({ principal, db, body }) => {
    const senderId = checkSend(prepare, principal, body);
    const to = body.to === undefined ? null : prepare.parseAddress(body.to, "to");
    const sent = body.payload.type === "file" ? await fileToSend(db, principal, body.payload.file_id) : null;
    const file = sent && { contentType: sent.content_type!, bytes: sent.bytes };
    const preflightDeps = { db, nowMs: prepare.clock.now(), file, capabilitiesOf };
    return { recipients: await preflight(preflightDeps, principal, body, senderId, to) };
  });

  route(app, messages.getMessage, ({ principal, db, params }) => readMessage(db, principal, params.id));

  route(app, messages.getMessageAuditTrail, ({ principal, db, params, query: { limit = maxEntries, cursor } }) =>
    readAuditTrail(db, principal, params.id, { limit, cursor }),
  );

  route(app, messages.getMessageTrace, ({ principal, db, params, query: { limit = maxEntries, cursor } }) =>
    readTrace(db, principal, params.id, { limit, cursor }),
  );
}
