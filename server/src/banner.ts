import type { Config } from "./config/config.ts";
import type { Hub } from "./hub.ts";

type Started = Pick<Hub, "url" | "simulatorUrl" | "simulatedChannels" | "admin">;

/** What `npm start` prints: URLs, and three lines to paste. */
export function banner(hub: Started, config: Config): string {
  const { url, simulatorUrl, admin } = hub;
  const hasApi = config.roles.includes("api");
  const lines = ["", "Chat4All is ready.", ""];
  if (url === null || !hasApi) lines.push(`  Roles       ${config.roles.join(", ")}`);
  if (url !== null && hasApi) lines.push(`  API         ${url}`, `  Docs        ${url}/docs  and  ${url}/redoc`);
  else if (url !== null) lines.push(`  Sockets     ${url.replace("http", "ws")}/ws`);
  if (simulatorUrl !== null) lines.push(`  Simulator   ${simulatorUrl}/_sim/`);
  if (url !== null && hasApi) lines.push(`  Users       ${whoRegisters(config.identity.registration)}`);
  if (config.webhooks.allowPrivate) {
    lines.push("  Webhooks    endpoints may be on private IP addresses and without TLS (WEBHOOKS_ALLOW_PRIVATE=true)");
  }
  if (admin.password !== undefined) {
    lines.push(`  Admin       ${admin.username}  password: ${admin.password}   (shown this once: keep it)`);
  }
  if (admin.notice !== undefined) lines.push("", `  ${admin.notice}`);
  if (url !== null && hasApi) lines.push("", ...firstSteps(url, hub));
  return `${lines.join("\n")}\n\n`;
}

function whoRegisters(registration: Config["identity"]["registration"]): string {
  return registration === "open"
    ? "anyone who reaches this URL may register (REGISTRATION=open)"
    : `by invitation only (REGISTRATION=${registration})`;
}

const json = "-H 'content-type: application/json'";
const authorization = '-H "authorization: Bearer $TOKEN"';

function firstSteps(url: string, { simulatorUrl, simulatedChannels, admin }: Started): string[] {
  // The certificate is for the hub's public name, not for its IP address on this machine.
  const curl = url.startsWith("https:") ? "curl -sk" : "curl -s";
  const isShown = admin.password !== undefined;
  const credentials = isShown
    ? `-d '${JSON.stringify({ username: admin.username, password: admin.password })}'`
    : `-d "{\\"username\\":\\"${admin.username}\\",\\"password\\":\\"\${ADMIN_PASSWORD:?is not set}\\"}"`;
  return [
    isShown ? "Paste these:" : "Paste these (ADMIN_PASSWORD is the admin's password):",
    "",
    `TOKEN=$(${curl} ${url}/auth/token ${json} ${credentials} | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`,
    ...(simulatorUrl !== null && simulatedChannels.includes("whatsapp")
      ? sendToSimulator(curl, url, simulatorUrl)
      : showChannels(curl, url, simulatorUrl)),
  ];
}

/** A template: WhatsApp refuses anything else unless the person has written to the business. */
function sendToSimulator(curl: string, url: string, simulatorUrl: string): string[] {
  const template = { type: "template", name: "hello_world", language: "en_US", parameters: [] };
  const message = JSON.stringify({ to: "whatsapp:+5511999991111", payload: template });
  return [
    `${curl} -w '\\n' ${url}/v1/messages ${json} ${authorization} -d '${message}'`,
    `sleep 1; curl -s -w '\\n' '${simulatorUrl}/_sim/messages?channel=whatsapp'`,
  ];
}

/** Sends no message, because a real person would get it. */
function showChannels(curl: string, url: string, simulatorUrl: string | null): string[] {
  const guides = "docs/guides/connect-a-whatsapp-number.md, docs/guides/connect-a-telegram-bot.md";
  return [
    `${curl} -w '\\n' ${url}/v1/channel-accounts ${authorization}`,
    "",
    `The second line shows the numbers and bots that are connected. To connect one: ${guides}`,
    ...(simulatorUrl === null ? ["To try it with simulated platforms, start it with ROLES=all,simulator."] : []),
  ];
}
