import type { FastifyInstance } from "fastify";
import { readMessage, type StoredMessage } from "../messages.ts";
import type { Simulation } from "../simulation.ts";

const shownMessages = 50;

const shownTextLength = 200;

export function servePage(app: FastifyInstance, simulation: Simulation): void {
  app.get("/", (request, reply) => {
    reply.header("content-type", "text/html; charset=utf-8").send(page(simulation, `http://${request.host}`));
  });
}

function page({ world, faces }: Simulation, url: string): string {
  const messages = world.messages.latest(shownMessages);
  const rows = messages.map(row).join("");
  const accounts = world.accounts
    .list()
    .map(
      ({ channel, id, webhookUrl }) =>
        `<li>${channel} ${escapeHtml(id)} → ${escapeHtml(webhookUrl ?? "no webhook")}</li>`,
    )
    .join("");
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Platform simulator</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:auto;padding:1rem;color-scheme:light dark}
pre{overflow-x:auto;padding:.75rem;border:1px solid;border-radius:.5rem}td{vertical-align:top;padding:.25rem .5rem;white-space:nowrap}
td:last-child{white-space:normal;overflow-wrap:anywhere;min-width:10rem}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}tr{border-bottom:1px solid #8884}</style></head><body>
<h1>Platform simulator</h1><p>It simulates ${faces.map((face) => face.channel).join(", ")}. Reload to see new messages.</p>
<h2>Accounts</h2><ul>${accounts}</ul>
<h2>Newest messages</h2>${rows === "" ? "<p>None yet.</p>" : `<div class="wide"><table>${rows}</table></div>`}
<h2>Try</h2><pre>${escapeHtml(examples(url))}</pre></body></html>`;
}

function row(stored: StoredMessage): string {
  const { channel, to, kind, text, received_at } = readMessage(stored);
  const shown = text === null ? `[${kind}]` : text.slice(0, shownTextLength);
  return `<tr><td>${received_at.slice(11, 19)}</td><td>${channel}</td><td>${escapeHtml(to)}</td><td>${escapeHtml(shown)}</td></tr>`;
}

function examples(url: string): string {
  const post = (path: string, body: string) =>
    `curl -X POST ${url}/_sim/${path} -H 'content-type: application/json' \\\n  -d '${body}'`;
  return [
    "# a person writes",
    post("inbound", '{"channel":"whatsapp","from":"+5511999991111","name":"Ana","payload":"oi"}'),
    "# what the platforms got",
    `curl '${url}/_sim/messages?channel=whatsapp&limit=10'`,
    "# the next three sends are refused for a second",
    post("faults", '{"channel":"whatsapp","fault":"rate_limit","count":3}'),
    "# as new",
    `curl -X POST ${url}/_sim/reset`,
  ].join("\n");
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
