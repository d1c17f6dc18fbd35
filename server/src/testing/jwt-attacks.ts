import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { AccessClaims, SigningKeys } from "../credentials/credentials.ts";

/** What an attacker may hold, and what only the hub holds: its own keys, to see that a signature alone is not enough. */
export interface Material {
  keys: SigningKeys;
  /** A working token, and the parts of it. */
  token: string;
  header: Record<string, unknown>;
  payload: Record<string, unknown>;
  /** Another user, in another workspace. */
  other: AccessClaims;
  /** A session of the same user that has ended. */
  endedSessionId: string;
  /** Signed with a key that the hub has given up. */
  retired: string;
  refreshToken: string;
  apiKey: string;
}

export interface Attack {
  name: string;
  code: "AUTH_REQUIRED" | "AUTH_INVALID" | "AUTH_EXPIRED" | "API_KEY_INVALID";
  /** Lines `authorization: …`; several are several headers. */
  authorization: string[];
  path?: string;
}

type Json = Record<string, unknown>;

export function jwtAttacks(material: Material): Attack[] {
  const { keys, token, header, payload } = material;
  const [head, body, signature] = token.split(".") as [string, string, string];
  const own = (changes: Json, headerChanges: Json = {}) =>
    signed({ ...header, ...headerChanges }, JSON.stringify({ ...payload, ...changes }), keys);
  const without = (claim: string) => own({ [claim]: undefined });
  const stranger = generateKeyPairSync("ed25519");
  const attacks: [name: string, token: string, code?: Attack["code"]][] = [];

  const now = Number(payload.iat);
  const none = (alg: string, end: string) => `${part({ ...header, alg })}.${body}.${end}`;
  for (const alg of ["none", "None", "NONE", "nOnE", ""]) attacks.push([`alg ${alg || "empty"}`, none(alg, "")]);
  attacks.push(["alg none with the right signature", none("none", signature)]);
  attacks.push(["alg none, two parts", `${part({ alg: "none", typ: "JWT" })}.${body}`]);
  attacks.push(["no alg", `${part({ ...header, alg: undefined })}.${body}.${signature}`]);
  attacks.push(["alg null", `${part({ ...header, alg: null })}.${body}.${signature}`]);
  attacks.push(["alg a list", `${part({ ...header, alg: [header.alg] })}.${body}.${signature}`]);
  attacks.push(["alg in lower case", own({}, { alg: String(header.alg).toLowerCase() })]);

  for (const [name, forged] of confusions(material)) attacks.push([name, forged]);

  const kids = [
    "../../../../dev/null",
    "' OR '1'='1",
    "https://attacker.example/key",
    "",
    "unknown",
    "\u0000",
    "__proto__",
  ];
  for (const kid of kids) attacks.push([`kid ${JSON.stringify(kid)}`, own({}, { kid })]);
  for (const kid of [[header.kid], { kid: header.kid }, 0, null, true, undefined]) {
    attacks.push([`kid ${JSON.stringify(kid)}, which is no text`, own({}, { kid })]);
  }
  attacks.push(["a key that was given up", material.retired]);

  const jwk = stranger.publicKey.export({ format: "jwk" });
  const brought: Json = {
    jwk,
    jku: "https://attacker.example/jwks.json",
    x5u: "https://attacker.example/cert.pem",
    x5c: ["MIIB"],
    x5t: "AAAA",
    crit: ["exp"],
    b64: false,
    cty: "JWT",
    zip: "DEF",
    enc: "A256GCM",
  };
  for (const [name, value] of Object.entries(brought)) {
    attacks.push([
      `header ${name}, signed by a stranger`,
      ed25519({ ...header, alg: "EdDSA", [name]: value }, payload, stranger.privateKey),
    ]);
    attacks.push([`header ${name}, even signed by the hub`, own({}, { [name]: value })]);
  }
  attacks.push(["b64 false and crit", own({}, { b64: false, crit: ["b64"] })]);
  for (const typ of ["at+jwt", "JWE", "jwt", "application/jwt", "", null, ["JWT"], undefined]) {
    attacks.push([`typ ${JSON.stringify(typ)}`, own({}, { typ })]);
  }

  attacks.push(["signature missing", `${head}.${body}`], ["signature empty", `${head}.${body}.`]);
  attacks.push(["header missing", `.${body}.${signature}`], ["payload missing (detached)", `${head}..${signature}`]);
  attacks.push(
    ["four parts", `${token}.${signature}`],
    ["five parts (a JWE)", `${head}.${body}.${body}.${body}.${signature}`],
  );
  attacks.push(["signature cut", token.slice(0, -2)], ["signature longer", `${token}A`]);
  for (const at of [0, Math.floor(signature.length / 2), signature.length - 2]) {
    attacks.push([`signature with character ${at} changed`, `${head}.${body}.${flipped(signature, at)}`]);
  }
  attacks.push(["padding", `${token}=`], ["the other alphabet", `${head}.${body}.+/${signature.slice(2)}`]);
  attacks.push([
    "payload of an admin under the same signature",
    `${head}.${part({ ...payload, role: "admin" })}.${signature}`,
  ]);
  attacks.push([
    "payload of another user under the same signature",
    `${head}.${part({ ...payload, sub: material.other.userId })}.${signature}`,
  ]);
  attacks.push(["header swapped", `${part({ ...header, extra: 1 })}.${body}.${signature}`]);
  attacks.push(["JSON serialisation", JSON.stringify({ protected: head, payload: body, signature })]);
  attacks.push(["JSON serialisation in base64url", part({ protected: head, payload: body, signature })]);
  attacks.push(["text that is no token", "null"], ["two tokens in one", `${token},${token}`]);

  const text = JSON.stringify(payload);
  const raw = (json: string) => signed(header, json, keys);
  attacks.push(["a payload that is a list", raw(`[${text}]`)], ["a payload that is no JSON", raw("{")]);
  attacks.push(["a payload that is not UTF-8", signed(header, Buffer.from([0x7b, 0xff, 0x7d]), keys)]);
  attacks.push(["__proto__ in the payload", raw(`{"__proto__":${text}}`)]);

  for (const claim of ["iss", "aud", "sub", "sid", "wid", "role", "exp", "nbf", "iat", "jti"]) {
    attacks.push([`without ${claim}`, without(claim)]);
  }
  for (const exp of [String(now + 60), -1, 1e300, now + 10 ** 9, now + 60.5, null, [now + 60]]) {
    attacks.push([`exp ${JSON.stringify(exp)}`, own({ exp }), exp === -1 ? "AUTH_EXPIRED" : "AUTH_INVALID"]);
  }
  attacks.push(["exp NaN", raw(text.replace(/"exp":\d+/, '"exp":NaN'))]);
  attacks.push(["expired a second ago", own({ iat: now - 60, nbf: now - 60, exp: now - 1 }), "AUTH_EXPIRED"]);
  attacks.push(["expired, with a wrong signature", `${head}.${part({ ...payload, exp: 1 })}.${signature}`]);
  attacks.push(["nbf in the future", own({ nbf: now + 6 })], ["nbf a text", own({ nbf: String(now) })]);
  attacks.push(["iat in the future", own({ iat: now + 6 })], ["iat after exp", own({ iat: Number(payload.exp) + 1 })]);
  attacks.push(["a life of more than a day", own({ exp: now + 86_401 })]);
  for (const claim of ["iss", "aud"]) {
    for (const value of ["somebody", "", ["chat4all"], ["chat4all", "somebody"], null, "Chat4All", "chat4all\u0000"]) {
      attacks.push([`${claim} ${JSON.stringify(value)}`, own({ [claim]: value })]);
    }
  }
  attacks.push(["sub of another user", own({ sub: material.other.userId })]);
  attacks.push(["sid of another user", own({ sid: material.other.sessionId })]);
  attacks.push(["sid of a session that has ended", own({ sid: material.endedSessionId })]);
  attacks.push(["wid of another workspace", own({ wid: material.other.workspaceId })]);
  for (const wrong of ["", "x", "' OR 1=1 --", 7, null, ["a"], `${payload.sid}\u0000`, "ａｄｍｉｎ"]) {
    attacks.push(
      [`sid ${JSON.stringify(wrong)}`, own({ sid: wrong })],
      [`sub ${JSON.stringify(wrong)}`, own({ sub: wrong })],
    );
  }
  for (const role of ["owner", "Admin", "", null, ["admin"], 3])
    attacks.push([`role ${JSON.stringify(role)}`, own({ role })]);

  attacks.push(
    ["a refresh token", material.refreshToken],
    ["an API key inside a token", `${head}.${body}.${material.apiKey}`],
  );
  attacks.push(["a token called an API key", `c4a_${token}`, "API_KEY_INVALID"]);
  attacks.push(["an API key with one more character", `${material.apiKey}A`, "API_KEY_INVALID"]);
  attacks.push(["an API key in upper case", material.apiKey.toUpperCase()]);
  attacks.push(["a token of 5 KiB", own({ filler: "x".repeat(5_000) })]);
  attacks.push(["a header that nests", `${Buffer.from("[".repeat(3_000)).toString("base64url")}.${body}.${signature}`]);

  const bearer = attacks.map(
    ([name, forged, code = "AUTH_INVALID"]): Attack => ({ name, code, authorization: [`Bearer ${forged}`] }),
  );
  return [...bearer, ...doors(token)];
}

/** A right token, brought in a wrong way. */
function doors(token: string): Attack[] {
  const refused = (name: string, ...authorization: string[]): Attack => ({ name, code: "AUTH_INVALID", authorization });
  return [
    refused("Basic", `Basic ${Buffer.from(`admin:${token}`).toString("base64")}`),
    refused("no scheme", token),
    refused("Bearer without a space", `Bearer${token}`),
    refused("Bearer with a tab", `Bearer\t${token}`),
    refused("Bearer twice", `Bearer Bearer ${token}`),
    refused("Bearer with a comma", `Bearer, ${token}`),
    refused("Bearer and nothing", "Bearer"),
    refused("a scheme that only begins so", `BearerX ${token}`),
    refused("quotes", `Bearer "${token}"`),
    refused("a parameter behind it", `Bearer ${token}; admin=true`),
    refused("a space in the token", `Bearer ${token.slice(0, 40)} ${token.slice(40)}`),
    refused("another letter that looks the same", `Bearer ${token.replace("e", "е")}`),
    refused("two values in one header", `Bearer ${token}, Bearer ${token}`),
    refused("two headers, the second right", "Bearer x", `Bearer ${token}`),
    refused("two headers, both right", `Bearer ${token}`, `Bearer ${token}`),
    { name: "an empty header", code: "AUTH_REQUIRED", authorization: [""] },
    { name: "in the query", code: "AUTH_REQUIRED", authorization: [], path: `/v1/me?token=${token}` },
    {
      name: "as access_token in the query",
      code: "AUTH_REQUIRED",
      authorization: [],
      path: `/v1/me?access_token=${token}`,
    },
  ];
}

/** Tokens of other algorithms, among them those made with what is public of our key. */
function confusions({ keys, header, payload }: Material): [string, string][] {
  const body = JSON.stringify(payload);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const tokens: [string, string][] = [
    ["RS256", assemble({ ...header, alg: "RS256" }, body, (input) => sign("sha256", input, rsa))],
    [
      "ES256",
      assemble({ ...header, alg: "ES256" }, body, (input) =>
        sign("sha256", input, { key: ec, dsaEncoding: "ieee-p1363" }),
      ),
    ],
    ["EdDSA of a stranger", ed25519({ ...header, alg: "EdDSA" }, payload, generateKeyPairSync("ed25519").privateKey)],
    [
      "Ed25519 by its other name",
      ed25519({ ...header, alg: "Ed25519" }, payload, generateKeyPairSync("ed25519").privateKey),
    ],
    ["HS256 with an empty secret", hmac("sha256", { ...header, alg: "HS256" }, body, "")],
    ["HS256 with the kid as secret", hmac("sha256", { ...header, alg: "HS256" }, body, String(header.kid))],
  ];
  if (keys.algorithm === "HS256") {
    const secret = keys.signer.key.export();
    tokens.push(["HS384 with our secret", hmac("sha384", { ...header, alg: "HS384" }, body, secret)]);
    tokens.push(["HS512 with our secret", hmac("sha512", { ...header, alg: "HS512" }, body, secret)]);
    return tokens;
  }
  const publicKey = createPublicKey(keys.signer.key);
  const known = {
    "PEM of the public key": publicKey.export({ format: "pem", type: "spki" }),
    "DER of the public key": publicKey.export({ format: "der", type: "spki" }),
    "x of the public key": Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"),
    "JWK of the public key": JSON.stringify(keys.publicKeys[0]),
  };
  for (const [name, secret] of Object.entries(known)) {
    tokens.push([`HS256 with the ${name} as secret`, hmac("sha256", { ...header, alg: "HS256" }, body, secret)]);
    tokens.push([`EdDSA in name, HMAC with the ${name}`, hmac("sha256", header, body, secret)]);
  }
  return tokens;
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function assemble(header: Json, body: string | Buffer, signer: (input: Buffer) => Buffer): string {
  const input = `${part(header)}.${Buffer.from(body).toString("base64url")}`;
  return `${input}.${signer(Buffer.from(input)).toString("base64url")}`;
}

function hmac(hash: string, header: Json, body: string | Buffer, secret: string | Buffer): string {
  return assemble(header, body, (input) => createHmac(hash, secret).update(input).digest());
}

function ed25519(header: Json, payload: Json, key: KeyObject): string {
  return assemble(header, JSON.stringify(payload), (input) => sign(null, input, key));
}

/** By the hub's own key. */
export function signed(header: Json, body: string | Buffer, { algorithm, signer }: SigningKeys): string {
  if (algorithm === "HS256") return hmac("sha256", header, body, signer.key.export());
  return assemble(header, body, (input) => sign(null, input, signer.key));
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function flipped(text: string, at: number): string {
  return text.slice(0, at) + alphabet[(alphabet.indexOf(text[at]!) + 1) % 64]! + text.slice(at + 1);
}
