import { Type } from "typebox";
import { operations } from "./operation.ts";

const place = {
  path: "/webhooks/{channel}/{id}",
  params: Type.Object({
    channel: Type.String(),
    id: Type.String({ description: "The id of the channel account." }),
  }),
  access: "public",
  limit: "none",
} as const;

/** Where the platforms send what happens on a channel account. */
export const platformWebhooks = operations("Platform webhooks", {
  confirmPlatformWebhook: {
    method: "GET",
    ...place,
    summary: "Confirm the URL of a webhook to the platform",
    description: "Returns the challenge of the platform when the verify token is that of the channel account.",
    answers: { 200: Type.String({ description: "The challenge." }) },
    contentType: "text/plain",
    errors: [403],
  },
  receivePlatformWebhook: {
    method: "POST",
    ...place,
    summary: "Receive a webhook of a platform",
    description:
      "The body is the platform's own, of at most 4 MiB. With a wrong signature the response is 401 and nothing is stored; " +
      "with a valid one it is 200 once the webhook is durable. 503 while the channel account is disabled.",
    answers: { 200: Type.Object({}, { description: "An empty object." }) },
    errors: [401, 413],
  },
});
