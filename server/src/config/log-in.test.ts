import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, describeConfig, formatConfig, loadConfig } from "./config.ts";

const load = (env: Record<string, string>) => loadConfig(env, { envFile: null });
const problemsOf = (env: Record<string, string>) => {
  try {
    load(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};
const client = (prefix: string) => ({ [`${prefix}_CLIENT_ID`]: "hub", [`${prefix}_CLIENT_SECRET`]: "s3cret" });

test("by default there are no providers and no email, and the list of keys says how to set them", () => {
  const config = load({});
  assert.deepEqual([config.identity.providers, config.mail], [[], { url: null, from: "" }]);
  const keys = describeConfig(config).map(({ key }) => key);
  for (const key of ["OAUTH_GOOGLE_CLIENT_ID", "OIDC_<NAME>_ISSUER", "SMTP_URL"]) assert.ok(keys.includes(key), key);
});

test("Google, GitHub and any number of issuers can be providers", () => {
  const { identity } = load({
    ...client("OAUTH_GOOGLE"),
    ...client("OAUTH_GITHUB"),
    ...client("OIDC_ACME"),
    OIDC_ACME_ISSUER: "https://login.acme.example/realm/",
    ...client("OIDC_OUR_OWN"),
    OIDC_OUR_OWN_ISSUER: "http://localhost:9000",
    OIDC_OUR_OWN_SCOPES: "openid email",
  });
  assert.deepEqual(
    identity.providers.map(({ name, kind, issuer, scopes }) => [name, kind, issuer, scopes]),
    [
      ["google", "oidc", "https://accounts.google.com", "openid email profile"],
      ["github", "github", "https://github.com", "read:user user:email"],
      ["acme", "oidc", "https://login.acme.example/realm/", "openid email profile"],
      ["our_own", "oidc", "http://localhost:9000", "openid email"],
    ],
  );
  assert.equal(identity.providers[2]!.clientSecret.reveal(), "s3cret");
});

test("missing keys of a provider are named", () => {
  for (const [env, problem] of [
    [{ OAUTH_GOOGLE_CLIENT_ID: "hub" }, /^OAUTH_GOOGLE_CLIENT_SECRET is missing/],
    [{ OAUTH_GITHUB_CLIENT_SECRET: "s3cret" }, /^OAUTH_GITHUB_CLIENT_ID is missing/],
    [client("OIDC_ACME"), /^OIDC_ACME_ISSUER is missing/],
    [{ ...client("OIDC_GOOGLE"), OIDC_GOOGLE_ISSUER: "https://a.example" }, /^OIDC_GOOGLE_… uses the name/],
    [{ SMTP_URL: "smtp://mail.example" }, /^MAIL_FROM is missing/],
    [{ OIDC_ACME_ISUER: "https://a.example" }, /^OIDC_ACME_ISUER is unknown/],
  ] as const) {
    const problems = problemsOf(env);
    assert.deepEqual([problems.length, problem.test(problems[0] ?? "")], [1, true], problems.join("\n"));
  }
  assert.equal(problemsOf({ OIDC_ACME_ISSUER: "https://a.example" }).length, 2);
});

test("an issuer without TLS is accepted on this machine only", () => {
  for (const issuer of [
    "http://acme.example",
    "ftp://acme.example",
    "https://u:p@acme.example",
    "https://a.example?x=1",
  ]) {
    assert.match(problemsOf({ ...client("OIDC_ACME"), OIDC_ACME_ISSUER: issuer })[0]!, /OIDC_ACME_ISSUER is "/);
  }
  for (const issuer of ["http://127.0.0.1:9000", "http://[::1]:9000/a"]) {
    assert.deepEqual(problemsOf({ ...client("OIDC_ACME"), OIDC_ACME_ISSUER: issuer }), []);
  }
});

test("login secrets are not printed", () => {
  const env = {
    ...client("OAUTH_GOOGLE"),
    SMTP_URL: "smtp://hub:s3cret@mail.example:587",
    MAIL_FROM: "hub@example.com",
  };
  const text = formatConfig(describeConfig(load(env)));
  assert.ok(!text.includes("s3cret"));
  assert.match(text, /^# SMTP_URL=smtp:\/\/hub:\[secret\]@mail\.example:587$/m);
});
