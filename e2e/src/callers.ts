import { randomUUID } from "node:crypto";
import { scopes as allScopes, type Scope } from "../../contract/src/access.ts";
import { openTokens } from "../../server/src/credentials/credentials.ts";
import { systemClock } from "../../server/src/lib/clock.ts";
import { chooseSecrets } from "../../server/src/secrets.ts";
import { until } from "../../server/src/testing/until.ts";
import { type Caller, newUser, type Workspace } from "./workspace.ts";

/** A credential that counts no more, or never did, and how every route responds to it. */
export interface Refused {
  name: string;
  authorization: string | null;
  code: "AUTH_REQUIRED" | "AUTH_INVALID" | "AUTH_EXPIRED" | "API_KEY_INVALID";
}

/** Callers that every route must refuse. */
export async function refusedCredentials(workspace: Workspace): Promise<Refused[]> {
  const { hub, admin } = workspace;
  const [gone, locked] = await Promise.all([newUser(hub, admin, "admin"), newUser(hub, admin, "admin")]);
  await gone.client.call("POST", "/auth/logout");
  const lockedKey = await locked.client.apiKeys.create({ name: "Of a locked user", scopes: ["*"] });
  await admin.client.users.change(locked.userId, { disabled: true });
  const revoked = await admin.client.apiKeys.create({ name: "Revoked", scopes: ["*"] });
  await admin.client.apiKeys.revoke(revoked.api_key_id);
  return [
    { name: "no credential", authorization: null, code: "AUTH_REQUIRED" },
    { name: "an empty one", authorization: "", code: "AUTH_REQUIRED" },
    { name: "no token", authorization: "Bearer nonsense", code: "AUTH_INVALID" },
    { name: "another scheme", authorization: `Basic ${admin.token}`, code: "AUTH_INVALID" },
    {
      name: "a token with a foreign signature",
      authorization: `Bearer ${withoutSignature(admin.token)}`,
      code: "AUTH_INVALID",
    },
    { name: "an expired token", authorization: `Bearer ${await expiredToken(workspace, admin)}`, code: "AUTH_EXPIRED" },
    { name: "the token of an ended session", authorization: `Bearer ${gone.token}`, code: "AUTH_INVALID" },
    { name: "the token of a disabled user", authorization: `Bearer ${locked.token}`, code: "AUTH_INVALID" },
    { name: "an unknown API key", authorization: `Bearer c4a_${"x".repeat(43)}`, code: "API_KEY_INVALID" },
    { name: "a revoked API key", authorization: `Bearer ${revoked.key}`, code: "API_KEY_INVALID" },
    { name: "an expired API key", authorization: `Bearer ${await expiredKey(admin)}`, code: "API_KEY_INVALID" },
    { name: "the API key of a disabled user", authorization: `Bearer ${lockedKey.key}`, code: "API_KEY_INVALID" },
  ];
}

/** Rightly signed, for a session that still stands, two hours ago. */
async function expiredToken({ hub }: Workspace, { token }: Caller): Promise<string> {
  const { sub, sid, wid, role } = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());
  const { signingKeys } = chooseSecrets(hub.hub.context.config.secrets, null);
  const tokens = openTokens({
    clock: { ...systemClock, now: () => Date.now() - 2 * 3_600_000 },
    keys: signingKeys,
    accessTokenTtlMs: 3_600_000,
    refreshTokenTtlMs: 3_600_000,
  });
  return tokens.issue({ userId: sub, sessionId: sid, workspaceId: wid, role });
}

function withoutSignature(token: string): string {
  const header = Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url");
  return [header, token.split(".")[1], ""].join(".");
}

async function expiredKey({ client }: Caller): Promise<string> {
  const soon = new Date(Date.now() + 500).toISOString();
  const { key } = await client.apiKeys.create({ name: "Short-lived", scopes: ["*"], expires_at: soon });
  await until("the key has expired", () => Date.now() > Date.parse(soon));
  return key;
}

/** API keys of the admin with certain scopes, each made once. */
export function openKeys({ admin }: Workspace) {
  const kept = new Map<string, Promise<string>>();
  const keyWith = (scopes: readonly ("*" | Scope)[]) => {
    const name = [...scopes].sort().join(" ");
    const make = async () => (await admin.client.apiKeys.create({ name: randomUUID(), scopes: [...scopes] })).key;
    return kept.get(name) ?? kept.set(name, make()).get(name)!;
  };
  return {
    with: (...scopes: Scope[]) => keyWith(scopes),
    without: (scope: Scope) => keyWith(allScopes.filter((one) => one !== scope)),
    all: () => keyWith(["*"]),
  };
}
