import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, SignJWT } from "jose";

/** How an issuer misbehaves in the next response of its token endpoint. */
export interface Misbehaviour {
  /** Claims put over those that would be right. */
  claims?: Record<string, unknown>;
  /** `none` has no signature; `HS256` is made with the public key, as in the classic confusion. */
  alg?: "none" | "HS256";
  /** Signed with a key that is not published, under the name of the one that is. */
  isForged?: boolean;
  status?: number;
  /** A redirect to there instead of a response. */
  location?: string;
  /** Instead of JSON. */
  body?: string;
}

export interface Person {
  sub: string;
  email?: string;
  email_verified?: unknown;
  preferred_username?: string;
  name?: string;
}

export type TestIssuer = Awaited<ReturnType<typeof startTestIssuer>>;

/**
 * An OpenID Connect issuer on loopback, controlled by the test. It has no login page: `codeFor` is what a person would
 * bring back. It keeps to the rules itself: a code works once, for its client, its redirect URI and its verifier.
 * A nameless one does not name itself in the callback URL (RFC 9207), as many do not.
 */
export async function startTestIssuer(options: { hasLateEmail?: boolean; isNameless?: boolean; path?: string } = {}) {
  const client = { id: "hub", secret: "a client's s3cret" };
  const own = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...(await exportJWK(own.publicKey)), kid: "k1", alg: "RS256", use: "sig" };
  const codes = new Map<string, { request: URLSearchParams; person: Person }>();
  const accessTokens = new Map<string, Person>();
  const calls: string[] = [];
  let misbehaviour: Misbehaviour = {};
  let isDown = false;
  let issuer = "";
  const base = (options.path ?? "").replace(/\/$/, "");
  const at = (path: string) => issuer.replace(/\/$/, "") + path;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url!.replace(base, "");
    calls.push(`${request.method} ${path}`);
    if (isDown) return send(response, 503, { error: "down" });
    if (path === "/.well-known/openid-configuration") return send(response, 200, metadata());
    if (path === "/jwks") return send(response, 200, { keys: [jwk] });
    if (path === "/userinfo") return sendUser(request, response);
    if (path === "/token") return giveToken(await readForm(request), request.headers.authorization, response);
    send(response, 404, {});
  }

  function metadata() {
    return {
      issuer,
      authorization_endpoint: at("/authorize"),
      token_endpoint: at("/token"),
      userinfo_endpoint: at("/userinfo"),
      jwks_uri: at("/jwks"),
      response_types_supported: ["code"],
      subject_types_supported: ["public"],
      // Says that it signs in every way, so that only the hub's own rules refuse the bad ones.
      id_token_signing_alg_values_supported: ["RS256", "HS256", "none"],
      authorization_response_iss_parameter_supported: !options.isNameless,
    };
  }

  async function giveToken(form: URLSearchParams, authorization: string | undefined, response: ServerResponse) {
    const { status, location, body } = misbehaviour;
    if (location !== undefined) return void response.writeHead(307, { location }).end();
    if (status !== undefined)
      return send(response, status, { error: status >= 500 ? "server_error" : "invalid_grant" });
    const given = codes.get(form.get("code") ?? "");
    codes.delete(form.get("code") ?? "");
    const challenge = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    const isRight =
      given !== undefined &&
      isClient(authorization) &&
      form.get("redirect_uri") === given.request.get("redirect_uri") &&
      given.request.get("code_challenge_method") === "S256" &&
      challenge === given.request.get("code_challenge");
    if (!isRight) return send(response, 400, { error: "invalid_grant" });
    const accessToken = randomBytes(16).toString("hex");
    accessTokens.set(accessToken, given.person);
    if (body !== undefined) return void response.writeHead(200, { "content-type": "text/html" }).end(body);
    const idToken = await signIdToken(given);
    send(response, 200, { access_token: accessToken, token_type: "Bearer", expires_in: 60, id_token: idToken });
  }

  /** Both parts are written as in a form before they are joined. Source: RFC 6749, section 2.3.1. */
  function isClient(authorization = ""): boolean {
    const [id, secret] = Buffer.from(authorization.replace(/^Basic /, ""), "base64")
      .toString()
      .split(":");
    const form = new URLSearchParams(`id=${id}&secret=${secret}`);
    return form.get("id") === client.id && form.get("secret") === client.secret;
  }

  async function signIdToken({ request, person }: { request: URLSearchParams; person: Person }): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const ofPerson = options.hasLateEmail ? { sub: person.sub } : person;
    const claims: Record<string, unknown> = {
      iss: issuer,
      aud: client.id,
      iat: now,
      exp: now + 300,
      nonce: request.get("nonce"),
      ...ofPerson,
      ...misbehaviour.claims,
    };
    if (misbehaviour.alg === "none")
      return `${base64(JSON.stringify({ alg: "none" }))}.${base64(JSON.stringify(claims))}.`;
    const key: KeyObject = misbehaviour.isForged ? stranger.privateKey : own.privateKey;
    if (misbehaviour.alg === "HS256") {
      const secret = Buffer.from(own.publicKey.export({ format: "pem", type: "spki" }));
      return new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: "k1" }).sign(secret);
    }
    return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "k1" }).sign(key);
  }

  function sendUser({ headers }: IncomingMessage, response: ServerResponse): void {
    const person = accessTokens.get(headers.authorization?.replace(/^Bearer /, "") ?? "");
    send(response, person === undefined ? 401 : 200, person ?? {});
  }

  const server = createServer((request, response) => void answer(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}${options.path ?? ""}`;

  return {
    url: issuer,
    client,
    /** What it was asked, oldest first. */
    calls,
    misbehave(how: Misbehaviour) {
      misbehaviour = how;
    },
    setDown(down: boolean) {
      isDown = down;
    },
    /** The person logs in there: what the browser brings to the callback. */
    codeFor(authorizationUrl: string, person: Person): URLSearchParams {
      const request = new URL(authorizationUrl).searchParams;
      const code = randomBytes(16).toString("hex");
      codes.set(code, { request, person });
      const answer = new URLSearchParams({ code, state: request.get("state")! });
      if (!options.isNameless) answer.set("iss", issuer);
      return answer;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64url");
}
