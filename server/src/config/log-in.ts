import type { EnvKind } from "../lib/env-kinds.ts";
import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";
import { hidden, Secret } from "../lib/secret.ts";
import type { ProviderConfig } from "../log-in/log-in.ts";

/** The login providers, in the order in which a login page shows them. */
export function readProviders(read: EnvReader): ProviderConfig[] {
  const fixed = [
    {
      ...readClient(read, "OAUTH_GOOGLE", "Google"),
      kind: "oidc" as const,
      name: "google",
      issuer: "https://accounts.google.com",
      scopes: defaultScopes,
    },
    {
      ...readClient(read, "OAUTH_GITHUB", "GitHub"),
      kind: "github" as const,
      name: "github",
      issuer: "https://github.com",
      scopes: "read:user user:email",
    },
  ];
  const names = issuerNames(read.setKeys);
  for (const name of names.filter((each) => fixed.some((other) => other.name === each.toLowerCase()))) {
    read.problem(`OIDC_${name}_… uses the name of a built-in provider: choose another name.`);
  }
  const issuers = names.map((name) => readIssuer(read, name));
  if (issuers.length === 0) explainIssuers(read);
  return [...fixed, ...issuers].filter((provider): provider is ProviderConfig => isComplete(provider));
}

export function readMail(read: EnvReader): { url: Secret | null; from: string } {
  const url = read.optional("SMTP_URL", smtpUrl, "none", "A mail server, for invitations and password resets.");
  const from = read.optional("MAIL_FROM", mailAddress, "none", "The sender of emails. Required with SMTP_URL.");
  if (url !== null && from === null) {
    read.problem("MAIL_FROM is missing: with SMTP_URL, give an email address such as hub@example.com.");
  }
  return { url, from: from ?? "" };
}

const defaultScopes = "openid email profile";

/** `OIDC_<NAME>_…`; null for a missing one, which is also a problem. */
function readIssuer(read: EnvReader, name: string) {
  const prefix = `OIDC_${name}`;
  const issuer = read.optional(`${prefix}_ISSUER`, issuerUrl, "none", "An OpenID Connect issuer to log in through.");
  if (!read.isSet(`${prefix}_ISSUER`)) {
    read.problem(`${prefix}_ISSUER is missing: give the URL of the OpenID Connect issuer.`);
  }
  const scopes = read.value(
    `${prefix}_SCOPES`,
    scopeList,
    defaultScopes,
    "The scopes to request, separated by spaces.",
  );
  const client = readClient(read, prefix, "the issuer", issuer !== null);
  return { kind: "oidc" as const, name: name.toLowerCase(), issuer, scopes, ...client };
}

function readClient(read: EnvReader, prefix: string, who: string, isRequired = false) {
  const clientId = read.optional(`${prefix}_CLIENT_ID`, kind.text, "none", `This hub's client id at ${who}.`);
  const secretText = kind.secretText(1);
  const secret = read.optional(`${prefix}_CLIENT_SECRET`, secretText, "none", "The secret that goes with it.");
  const isAny = isRequired || clientId !== null || secret !== null;
  for (const part of ["CLIENT_ID", "CLIENT_SECRET"]) {
    if (!isAny || read.isSet(`${prefix}_${part}`)) continue;
    read.problem(`${prefix}_${part} is missing: ${who} gives it to you when you register this hub there.`);
  }
  return { clientId, clientSecret: secret };
}

function explainIssuers(read: EnvReader): void {
  read.optional("OIDC_<NAME>_ISSUER", issuerUrl, "none", "An OpenID Connect issuer to log in through, as <name>.");
  read.optional("OIDC_<NAME>_CLIENT_ID", kind.text, "none", "This hub's client id at the issuer.");
  read.optional("OIDC_<NAME>_CLIENT_SECRET", kind.secretText(1), "none", "The secret that goes with it.");
  read.value("OIDC_<NAME>_SCOPES", scopeList, defaultScopes, "The scopes to request, separated by spaces.");
}

function issuerNames(keys: readonly string[]): string[] {
  const pattern = /^OIDC_([A-Z0-9_]{1,50})_(?:ISSUER|CLIENT_ID|CLIENT_SECRET|SCOPES)$/;
  return [...new Set(keys.flatMap((key) => pattern.exec(key)?.[1] ?? []))].sort();
}

function isComplete(provider: { [Key in keyof ProviderConfig]: ProviderConfig[Key] | null }): boolean {
  return provider.issuer !== null && provider.clientId !== null && provider.clientSecret !== null;
}

/** Kept as written: a trailing slash may be part of an issuer's name. */
const issuerUrl: EnvKind<string> = {
  must: "a URL that begins with https://, or with http://localhost for tests",
  parse(value) {
    const url = URL.parse(value);
    if (!url?.host || url.search || url.hash || url.username) return undefined;
    const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
    return url.protocol === "https:" || (url.protocol === "http:" && isHere) ? value : undefined;
  },
};

const scopeList: EnvKind<string> = {
  must: "scopes separated by spaces, openid among them",
  parse: (value) =>
    value.split(" ").includes("openid") && /^[\x21\x23-\x5b\x5d-\x7e ]+$/.test(value) ? value : undefined,
};

const smtpUrl: EnvKind<Secret> = {
  must: "a URL such as smtp://user:password@mail.example.com:587, or smtps://…",
  parse(value) {
    const url = URL.parse(value);
    return url?.hostname && /^smtps?:$/.test(url.protocol) ? new Secret(value) : undefined;
  },
  print(url) {
    const shown = new URL(url.reveal());
    return shown.password === "" ? shown.href : shown.href.replace(`:${shown.password}@`, `:${hidden}@`);
  },
};

const mailAddress: EnvKind<string> = {
  must: "an email address such as hub@example.com or Chat4All <hub@example.com>",
  parse: (value) => (/^([^<>\r\n]*<[^\s@<>]+@[^\s@<>]+>|[^\s@<>]+@[^\s@<>]+)$/.test(value) ? value : undefined),
};
