import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";

interface TestMail {
  from: string;
  to: string[];
  /** As received. */
  raw: string;
  /** The text behind the headers, decoded. */
  text: string;
}

/** A mail server on loopback. `refuse` says how many emails it refuses for now before it takes one. */
export async function startTestSmtp(options: { refuse?: number; login?: { user: string; password: string } } = {}) {
  const mails: TestMail[] = [];
  let refusals = options.refuse ?? 0;
  let sessions = 0;
  const server = new SMTPServer({
    disabledCommands: options.login === undefined ? ["AUTH", "STARTTLS"] : ["STARTTLS"],
    allowInsecureAuth: true,
    onConnect(_session, done) {
      sessions += 1;
      done();
    },
    onAuth({ username, password }, _session, done) {
      const isRight = username === options.login?.user && password === options.login?.password;
      if (isRight) done(null, { user: username });
      else done(new Error("wrong"));
    },
    onData(stream, { envelope }, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        if (refusals > 0) {
          refusals -= 1;
          const to = envelope.rcptTo[0]?.address;
          return done(Object.assign(new Error(`Try later, ${to}`), { responseCode: 451 }));
        }
        const raw = Buffer.concat(chunks).toString();
        const from = envelope.mailFrom === false ? "" : envelope.mailFrom.address;
        mails.push({ from, to: envelope.rcptTo.map(({ address }) => address), raw, text: textOf(raw) });
        done();
      });
    },
  });
  server.on("error", () => {});
  server.listen(0, "127.0.0.1");
  await once(server.server, "listening");
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `smtp://127.0.0.1:${port}`,
    port,
    mails,
    sessions: () => sessions,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function textOf(raw: string): string {
  const [head, ...rest] = raw.split("\r\n\r\n");
  const body = rest.join("\r\n\r\n");
  if (/content-transfer-encoding: base64/i.test(head!)) return Buffer.from(body, "base64").toString();
  if (!/content-transfer-encoding: quoted-printable/i.test(head!)) return body;
  return body
    .replace(/=\r\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}
