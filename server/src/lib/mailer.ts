import { openBatcher } from "./batcher.ts";
import { type Clock, pause } from "./clock.ts";
import type { Log } from "./postgres.ts";
import type { Secret } from "./secret.ts";

/** Only `kind` is logged. */
export interface Mail {
  kind: string;
  to: string;
  subject: string;
  text: string;
}

export function readableTime(time: Date): string {
  return `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** Emails wait in memory and are lost when the process dies: each must be one that can be requested again. */
export interface Mailer extends AsyncDisposable {
  readonly isOn: boolean;
  /** False without a server, and when too many emails wait. Call it after the commit. */
  send(mail: Mail): boolean;
  idle(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface MailerOptions {
  url: Secret | null;
  from: string;
  clock: Clock;
  log: Log;
}

export const triesPerMail = 3;
export const queueSize = 1_000;
const pausesMs = [2_000, 30_000];
const connectionTimeoutMs = 10_000;
const silenceTimeoutMs = 20_000;
const closeWithinMs = 3_000;

export function openMailer({ url, from, clock, log }: MailerOptions): Mailer {
  if (url === null) return mailOff;
  // The library is loaded with the first mail, to keep the start short.
  const openTransport = async () =>
    (await import("nodemailer")).createTransport({
      ...settingsOf(url.reveal()),
      connectionTimeout: connectionTimeoutMs,
      greetingTimeout: connectionTimeoutMs,
      socketTimeout: silenceTimeoutMs,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
  let opened: ReturnType<typeof openTransport> | undefined;
  const stopped = new AbortController();
  const queue = openBatcher<Mail, void>({
    maxBatch: 1,
    maxWaiting: queueSize,
    clock,
    run: async ([mail]) => [await sendMail(mail!)],
  });

  async function sendMail({ kind, to, subject, text }: Mail): Promise<void> {
    // As an object it is one address, for any text.
    const message = { from, to: { name: "", address: to }, subject, text };
    for (let tries = 1; !stopped.signal.aborted; tries += 1) {
      try {
        opened ??= openTransport();
        await (await opened).sendMail(message);
        return;
      } catch (error) {
        const reason = reasonOf(error);
        const isLast = tries >= triesPerMail || stopped.signal.aborted;
        log.warn(
          { mail: kind, tries, ...reason },
          isLast ? "an email could not be sent" : "an email will be tried again",
        );
        if (isLast) return;
        await pause(clock, pausesMs[tries - 1]!, stopped.signal);
      }
    }
  }

  return {
    isOn: true,
    send(mail) {
      if (stopped.signal.aborted || queue.waiting >= queueSize) {
        log.warn({ mail: mail.kind }, "an email was dropped: too many wait");
        return false;
      }
      void queue.submitOne(mail);
      return true;
    },
    idle: () => queue.idle(),
    async [Symbol.asyncDispose]() {
      stopped.abort();
      const late = new AbortController();
      await Promise.race([queue.idle(), pause(clock, closeWithinMs, late.signal)]);
      late.abort();
      (await opened)?.close();
    },
  };
}

const mailOff: Mailer = {
  isOn: false,
  send: () => false,
  idle: async () => {},
  [Symbol.asyncDispose]: async () => {},
};

/** A password goes over an encrypted connection, or to this machine. `?requireTLS=true` asks for one in any case. */
function settingsOf(text: string) {
  const url = new URL(text);
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  const secure = url.protocol === "smtps:";
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port) || (secure ? 465 : 587),
    secure,
    requireTLS: url.searchParams.get("requireTLS") === "true" || (url.username !== "" && !isHere),
    ...(url.username === ""
      ? {}
      : { auth: { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) } }),
  };
}

/** Why it failed, without the address, the text or what the server said: that may repeat them. */
function reasonOf(error: unknown): { code: string; response_code: number | null } {
  const { code = "unknown", responseCode = null } = error as { code?: string; responseCode?: number };
  return { code, response_code: responseCode };
}
