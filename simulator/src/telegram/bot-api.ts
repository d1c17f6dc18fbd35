import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Answer, json, takeCall } from "../calls.ts";
import { takeRawBodies, withBody } from "../http/body.ts";
import { type FilePart, UnreadableBody } from "../http/multipart.ts";
import { StoreBusy } from "../media/media-store.ts";
import type { TelegramAccount } from "./account.ts";
import { BotError, badRequest, toAnswer, tooManyRequests } from "./bot-error.ts";
import { botUser } from "./chats.ts";
import { downloadFile, getFile, maxUploadBytes, sendMedia } from "./media.ts";
import { Parameters } from "./parameters.ts";
import { sendChatAction, sendLocation, sendMessage, sendVenue, setMessageReaction } from "./send.ts";
import type { TelegramState } from "./state.ts";
import { deleteWebhook, getUpdates, getWebhookInfo, setWebhook } from "./updates.ts";

export interface BotCall {
  state: TelegramState;
  account: TelegramAccount;
  parameters: Parameters;
  files: ReadonlyMap<string, FilePart>;
  whenGone(job: () => void): void;
}

const methods: Record<string, (call: BotCall) => Answer | Promise<Answer>> = {
  getMe,
  sendMessage,
  sendPhoto: sendMedia("photo"),
  sendDocument: sendMedia("document"),
  sendVideo: sendMedia("video"),
  sendAudio: sendMedia("audio"),
  sendVoice: sendMedia("voice"),
  getFile,
  sendLocation,
  sendVenue,
  sendChatAction,
  setMessageReaction,
  setWebhook,
  deleteWebhook,
  getWebhookInfo,
  getUpdates,
};

export const botMethods = Object.keys(methods);

const byLowerName = new Map(Object.entries(methods).map(([name, run]) => [name.toLowerCase(), run]));

/** Serves the Bot API: `/bot{token}/{method}`, by GET or POST, and `/file/bot{token}/{path}`. Source: Telegram Bot API, making requests. */
export function serveBotApi(app: FastifyInstance, state: TelegramState): void {
  const explain = (error: unknown) => toAnswer(explainError(error));
  const down = () => toAnswer(new BotError(503, "Service Unavailable"));
  takeRawBodies(app);
  app.all("/*", (request, reply) => {
    void takeCall(state.world, "telegram", reply, { run: () => run(state, request, reply), explain, down });
  });
  app.setErrorHandler((error, _request, reply) => {
    void takeCall(state.world, "telegram", reply, { run: () => explain(error), explain, down });
  });
}

async function run(state: TelegramState, request: FastifyRequest, reply: FastifyReply): Promise<Answer> {
  const path = (request.params as { "*": string })["*"];
  const [, isFile, token, name] = /^(file\/)?bot([^/]+)\/(.+?)\/?$/.exec(path) ?? [];
  if (token === undefined || name === undefined) throw new BotError(404, "Not Found");
  const account = state.world.accounts.findByToken("telegram", token) as TelegramAccount | undefined;
  if (!account) throw new BotError(401, "Unauthorized");
  if (isFile) return downloadFile(state, account, name);
  const method = byLowerName.get(name.toLowerCase());
  if (!method) throw new BotError(404, "Not Found: method not found");
  return withBody(request, state.world.media, maxUploadBytes, ({ fields, files }) =>
    method({
      state,
      account,
      parameters: new Parameters({ ...(request.query as object), ...fields, ...describe(files) }),
      files,
      whenGone: (job) => void reply.raw.once("close", job),
    }),
  );
}

/** How `raw` shows files. */
function describe(files: ReadonlyMap<string, FilePart>): Record<string, unknown> {
  const shown = ({ filename, mimeType, upload }: FilePart) => ({
    filename,
    content_type: mimeType,
    size: upload.bytes,
  });
  return Object.fromEntries([...files].map(([name, part]) => [name, shown(part)]));
}

function getMe({ account }: BotCall): Answer {
  return json(200, {
    ok: true,
    result: {
      ...botUser(account),
      can_join_groups: true,
      can_read_all_group_messages: false,
      supports_inline_queries: false,
    },
  });
}

function explainError(error: unknown): BotError {
  if (error instanceof BotError) return error;
  if (error instanceof UnreadableBody) return badRequest("can't parse request JSON object");
  if (error instanceof StoreBusy) return tooManyRequests(1);
  const status = (error as { statusCode?: number }).statusCode;
  if (status === 413) return new BotError(413, "Request Entity Too Large");
  if (status !== undefined && status < 500) return badRequest((error as Error).message);
  process.stderr.write(`simulator: telegram failed on a call: ${(error as Error).stack}\n`);
  return new BotError(500, "Internal Server Error");
}
