import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { pino } from "pino";
import { ed25519Keys, openTokens, type SigningKeys, sharedSecrets } from "../credentials/credentials.ts";
import { type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";
import { type Attack, jwtAttacks, type Material, signed } from "../testing/jwt-attacks.ts";

const ttl = { accessTokenTtlMs: 3_600_000, refreshTokenTtlMs: 86_400_000 };
const newKey = () => generateKeyPairSync("ed25519").privateKey;
const [newest, older, retired] = [newKey(), newKey(), newKey()];
const [newestSecret, olderSecret, retiredSecret] = ["n", "o", "r"].map((letter) => letter.repeat(40)) as [
  string,
  string,
  string,
];

const hubs = {
  HS256: {
    keys: sharedSecrets([newestSecret, olderSecret]),
    old: sharedSecrets([olderSecret]),
    gone: sharedSecrets([retiredSecret]),
  },
  EdDSA: { keys: ed25519Keys([newest, older]), old: ed25519Keys([older]), gone: ed25519Keys([retired]) },
};

for (const [algorithm, { keys, old, gone }] of Object.entries(hubs)) {
  describe(`with ${algorithm}`, () => {
    test("every attack is refused with 401 and the right code, and no token is logged", async () => {
      const logged: string[] = [];
      const log = pino({ level: "trace" }, { write: (line: string) => void logged.push(line) });
      await using hub = await startIdentityHub({ keys, log });
      const material = await collect(hub, keys, gone);
      const attacks = jwtAttacks(material);
      assert.equal(new Set(attacks.map(({ name }) => name)).size, attacks.length, "names are unique");
      assert.ok(attacks.length >= 150, `${attacks.length} attacks`);

      const wrong: string[] = [];
      for (const attack of attacks) {
        const { status, code, body } = await strike(hub, attack);
        if (status !== 401 || code !== attack.code) wrong.push(`${attack.name}: ${status} ${code}`);
        if (attack.authorization.some((value) => value.length > 20 && body.includes(value.slice(-20)))) {
          wrong.push(`${attack.name}: the response repeats it`);
        }
      }
      assert.deepEqual(wrong, []);
      const sent = attacks
        .flatMap(({ authorization, path = "" }) => [...authorization, path])
        .filter((text) => text.length > 40);
      const lines = logged.join("");
      assert.deepEqual(
        sent.filter((text) => lines.includes(text.slice(-30))),
        [],
      );
      assert.equal((await hub.call("GET /v1/me", { token: material.token })).status, 200, "the right one still works");
    });

    test("valid tokens are accepted", async () => {
      await using hub = await startIdentityHub({ keys });
      const { header, payload, token } = await collect(hub, keys, gone);
      const accepted = async (text: string, scheme = "Bearer") => {
        const { status } = await strike(hub, { authorization: [`${scheme} ${text}`] });
        return status;
      };
      assert.equal(await accepted(token, "bearer"), 200);
      assert.equal(await accepted(token, "Bearer  "), 200);
      const now = Number(payload.iat);
      const early = { ...payload, iat: now + 5, nbf: now + 5 };
      assert.equal(await accepted(signed(header, JSON.stringify(early), keys)), 200, "clocks differ by 5 s");

      const before = openTokens({ clock: hub.clock, keys: old, ...ttl });
      const { sub, sid, wid } = payload as { sub: string; sid: string; wid: string };
      const claims = { userId: sub, sessionId: sid, workspaceId: wid, role: "member" as const };
      assert.equal(await accepted(await before.issue(claims)), 200, "the key before the newest");

      // The database has the last word on roles: a token never raises one.
      const raised = await hub.tokens.issue({ ...claims, role: "admin" });
      assert.equal((await hub.call("GET /v1/users", { token: raised })).status, 403);
    });
  });
}

test("the public keys are public, newest first, without private parts", async () => {
  await using hub = await startIdentityHub({ keys: hubs.EdDSA.keys });
  const { status, headers, body } = await hub.call("GET /.well-known/jwks.json");
  assert.equal(status, 200);
  assert.match(headers.get("cache-control") ?? "", /^public, max-age=\d+$/);
  assert.deepEqual(
    body.keys.map((key: object) => Object.keys(key).sort()),
    Array(2).fill(["alg", "crv", "kid", "kty", "use", "x"]),
  );
  const { access_token } = await hub.logIn("admin");
  const { kid } = JSON.parse(Buffer.from(access_token.split(".")[0], "base64url").toString());
  assert.equal(kid, body.keys[0].kid);
});

test("a shared secret has no public key", async () => {
  await using hub = await startIdentityHub();
  assert.deepEqual((await hub.call("GET /.well-known/jwks.json")).body, { keys: [] });
});

async function collect(hub: IdentityHub, keys: SigningKeys, gone: SigningKeys): Promise<Material> {
  const register = async (username: string) => {
    const body = { username, email: `${username}@example.com`, password: "a long enough one" };
    return (await hub.call("POST /auth/register", { body })).body;
  };
  const session = await register("attacker");
  const ended = await hub.logIn("attacker", "a long enough one");
  await hub.call("POST /auth/logout", { token: ended.access_token });
  const admin = await hub.logIn("admin");
  const made = await hub.call("POST /v1/workspaces", {
    token: admin.access_token,
    body: { name: "Other", admin: { username: "other", email: "o@example.com", password: "a long enough one" } },
  });
  const other = payloadOf((await hub.logIn("other", "a long enough one")).access_token);
  assert.equal(other.wid, made.body.workspace_id);
  const payload = payloadOf(session.access_token);
  const claims = { userId: payload.sub, sessionId: payload.sid, workspaceId: payload.wid, role: "member" as const };
  const apiKey = await hub.call("POST /v1/api-keys", {
    token: session.access_token,
    body: { name: "key", scopes: ["*"] },
  });
  return {
    keys,
    token: session.access_token,
    header: JSON.parse(Buffer.from(session.access_token.split(".")[0], "base64url").toString()),
    payload,
    other: { userId: other.sub, sessionId: other.sid, workspaceId: other.wid, role: "admin" },
    endedSessionId: payloadOf(ended.access_token).sid,
    retired: await openTokens({ clock: hub.clock, keys: gone, ...ttl }).issue(claims),
    refreshToken: session.refresh_token,
    apiKey: apiKey.body.key,
  };
}

function payloadOf(token: string): Record<"sub" | "sid" | "wid", string> {
  return JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());
}

/** Bytes on a socket: what no HTTP client would send is sent, too. */
async function strike(hub: IdentityHub, { authorization, path = "/v1/me" }: Pick<Attack, "authorization" | "path">) {
  const { hostname, port } = new URL(hub.url);
  const socket = connect({ host: hostname, port: Number(port) });
  const lines = [`GET ${path} HTTP/1.1`, `host: ${hostname}`, "connection: close"];
  for (const value of authorization) lines.push(`authorization: ${value}`);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  const code = /"code":"([A-Z_]+)"/.exec(answer)?.[1];
  return { status: Number(answer.split(" ")[1]), code, body: answer };
}
