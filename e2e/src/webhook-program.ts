import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { until } from "../../server/src/testing/until.ts";
import type { Behaviour, Received } from "./webhook-receiver.ts";

const program = fileURLToPath(new URL("./webhook-receiver.ts", import.meta.url));

export type WebhookProgram = Awaited<ReturnType<typeof startWebhookProgram>>;

/** Starts a program that receives events, in its own process. It ends with the test. */
export async function startWebhookProgram() {
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  const { url } = JSON.parse(String(line)) as { url: string };
  const ended = once(child, "exit");

  async function received(name: string): Promise<Received[]> {
    const answer = await fetch(`${url}/_hooks/${name}`);
    return ((await answer.json()) as { data: Received[] }).data;
  }

  return {
    /** Where an endpoint of this name is. */
    urlOf: (name: string) => `${url}/hooks/${name}`,
    async behave(name: string, secret: string, behaviour: Behaviour = { kind: "ok" }): Promise<void> {
      const answer = await fetch(`${url}/_hooks/${name}`, {
        method: "PUT",
        body: JSON.stringify({ secret, behaviour }),
      });
      if (!answer.ok) throw new Error(`The receiver returned ${answer.status}.`);
    },
    received,
    /** Waits until `enough` holds for the received requests, and returns them. */
    has: (name: string, what: string, enough: (requests: Received[]) => boolean, withinMs?: number) =>
      until(
        what,
        async () => {
          const requests = await received(name);
          return enough(requests) && requests;
        },
        withinMs,
      ),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}
