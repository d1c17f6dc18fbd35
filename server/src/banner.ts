import type { Config } from "./config.ts";
import type { Hub } from "./hub.ts";

/** What a person who started the hub sees: where things are, and three lines to paste. */
export function banner(hub: Pick<Hub, "url" | "simulatorUrl" | "admin">, config: Config): string {
  const { url, simulatorUrl, admin } = hub;
  const lines = ["", "Chat4All is ready.", ""];
  if (url === null) lines.push(`  Roles       ${config.roles.join(", ")}`);
  else lines.push(`  API         ${url}`, `  Docs        ${url}/docs  and  ${url}/redoc`);
  if (simulatorUrl !== null) lines.push(`  Simulator   ${simulatorUrl}/_sim/`);
  if (url !== null) lines.push(`  Accounts    ${whoRegisters(config.identity.registration)}`);
  if (config.webhooks.allowPrivate) {
    lines.push("  Webhooks    endpoints may be on private addresses and without TLS (WEBHOOKS_ALLOW_PRIVATE=true)");
  }
  if (admin.password !== undefined) {
    lines.push(`  Admin       ${admin.username}  password: ${admin.password}   (shown this once: keep it)`);
  }
  if (admin.notice !== undefined) lines.push("", `  ${admin.notice}`);
  if (url !== null) lines.push("", ...firstSteps(url, simulatorUrl, admin));
  return `${lines.join("\n")}\n\n`;
}

function whoRegisters(registration: Config["identity"]["registration"]): string {
  return registration === "open"
    ? "everybody who reaches this address may register (REGISTRATION=open)"
    : `by invitation only (REGISTRATION=${registration})`;
}

function firstSteps(url: string, simulatorUrl: string | null, admin: Hub["admin"]): string[] {
  const json = "-H 'content-type: application/json'";
  const credentials =
    admin.password === undefined
      ? `-d "{\\"username\\":\\"${admin.username}\\",\\"password\\":\\"\${ADMIN_PASSWORD:?is not set}\\"}"`
      : `-d '${JSON.stringify({ username: admin.username, password: admin.password })}'`;
  const message = JSON.stringify({
    to: "whatsapp:+5511999991111",
    payload: { type: "text", text: "Hello from Chat4All" },
  });
  const intro = admin.password === undefined ? "Paste these (ADMIN_PASSWORD is the admin's password):" : "Paste these:";
  const steps = [
    intro,
    "",
    `TOKEN=$(curl -s ${url}/auth/token ${json} ${credentials} | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`,
    `curl -s -w '\\n' ${url}/v1/messages ${json} -H "authorization: Bearer $TOKEN" -d '${message}'`,
  ];
  steps.push(
    simulatorUrl === null
      ? `curl -s ${url}/v1/conversations -H "authorization: Bearer $TOKEN"`
      : `sleep 1; curl -s -w '\\n' '${simulatorUrl}/_sim/messages?channel=whatsapp'`,
  );
  return steps;
}
