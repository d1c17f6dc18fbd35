/**
 * The README and the guides work as printed: the commands of each page run in order in one shell, and all
 * pages run against one hub, in the order in which you follow them.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { before, describe } from "node:test";
import { fileURLToPath } from "node:url";
import { banner } from "../server/src/banner.ts";
import { loadConfig } from "../server/src/config/config.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { type Block, linkCheckout, type OpenCommand, readBlocks, readPage, runGuide } from "./src/guide.ts";
import { adminPassword, sharedSecrets, startTestHub, type TestHub } from "./src/harness.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/** In the order in which you follow them. A missing page fails the test. */
const pages = [
  "README.md",
  ...[
    "first-message",
    "connect-a-whatsapp-number",
    "connect-a-telegram-bot",
    "channel-accounts",
    "choose-the-channel",
    "failed-messages",
    "realtime",
    "summarize-a-document",
    "webhook-endpoints",
    "send-a-file",
    "log-in-with-openid-connect",
    "users-and-passwords",
    "audit-log",
    "configuration",
    "run-it-in-production",
    "rotate-secrets",
    "generate-a-client",
  ].map((name) => `docs/guides/${name}.md`),
];

/** Pages with a test of their own. */
const elsewhere = { "docs/guides/add-a-connector.md": "e2e/add-a-connector.test.ts" };

const starts = "npm-start.test.ts and banner.test.ts start hubs";
const realPlatform = "needs an account at the platform and a hub that it reaches";
/**
 * Debian 12 has no Go that is new enough, and each run would download some hundred megabytes from three more registries.
 * The page names the versions that were tried; document.test.ts holds what these generators need of the document.
 */
const otherRegistries = "needs Python, Go or Java, and packages from PyPI, Maven or the Go proxy";

/** Blocks that cannot run here, by page and first line, with the reason. One that no page has fails the test. */
const notRun: Record<string, Record<string, string>> = {
  "README.md": { "npm ci && npm start": starts, "npm test": "this is one of them" },
  "docs/guides/first-message.md": { "npm ci && npm start": starts },
  "docs/guides/connect-a-whatsapp-number.md": {
    "PUBLIC_URL=": realPlatform,
    'curl -X POST "https://graph.facebook.com/': realPlatform,
    "curl -s https://chat.example.com/": realPlatform,
    "curl -s -X POST https://chat.example.com/": realPlatform,
  },
  "docs/guides/connect-a-telegram-bot.md": {
    "PUBLIC_URL=": realPlatform,
    "curl -s https://chat.example.com/": realPlatform,
  },
  "docs/guides/webhook-endpoints.md": {
    "async function handle(": "a part of a program: webhook-guide.test.ts",
    "HUB=$HUB KEY=$KEY WEBHOOK_SECRET=": "runs the changed program: webhook-guide.test.ts",
  },
  "docs/guides/log-in-with-openid-connect.md": {
    "const code = new URLSearchParams": "runs in a page: log-in-pages.test.ts",
  },
  "docs/guides/run-it-in-production.md": {
    "npm ci --omit=dev": starts,
    "aws s3api": "needs a bucket of AWS",
    "PGPASSWORD=": "production-guide.test.ts",
    "TLS_CERT_FILE=": "tls.test.ts",
    "DATABASE_URL=": "banner.test.ts",
    "ROLES=": "sharing.test.ts and realtime-roles.test.ts",
  },
  "docs/guides/generate-a-client.md": {
    "python3 -m venv": otherRegistries,
    "HUB=$HUB KEY=$KEY python send.py": otherRegistries,
    "mkdir -p send/chat4all": otherRegistries,
    "(cd send && go mod init": otherRegistries,
    "HUB=$HUB KEY=$KEY java": otherRegistries,
  },
  "docs/guides/summarize-a-document.md": { "LLM_BASE_URL=": "needs a language model: summaries.test.ts" },
  "docs/guides/rotate-secrets.md": { "npm start -- secrets": "the hub is stopped meanwhile: secrets.test.ts" },
};

/** Commands that you leave open, by the beginning of their block. */
const open: Record<string, OpenCommand> = {
  "curl -sN http://127.0.0.1:8080/v1/events": { ready: "^: here", shows: "NEW_MESSAGE" },
  "HUB=$HUB KEY=$KEY node_modules/.bin/node follow.mjs": { ready: "Connected", shows: "MESSAGE_STATUS" },
  "HUB=$HUB KEY=$KEY node_modules/.bin/node listen.mjs 4": { ready: "LIVE", shows: "RESUMED" },
  "HUB=$HUB KEY=$KEY node_modules/.bin/node listen.mjs": { ready: "LIVE", shows: "MESSAGE_STATUS" },
  "curl -sN $HUB/v1/events": { ready: "^: here", shows: "^id: 6" },
  "WEBHOOK_SECRET=$SECRET node receiver.mjs": { ready: "Listening", shows: "bom dia" },
};

const contractPackage = JSON.parse(readFileSync(join(root, "contract/package.json"), "utf8"));
const typesGenerator: string = contractPackage.devDependencies["openapi-typescript"];

const { test } = testsThatNeed("curl");

type Started = Parameters<typeof banner>[0];

function bannerOf({
  admin,
  ...hub
}: Omit<Started, "admin"> & { admin: { username: string; password: string } }): string {
  const config = loadConfig({}, { envFile: null });
  return banner({ ...hub, admin: { ...admin, created: true, passwordWasShown: async () => {} } }, config);
}

describe("as printed", { concurrency: false }, () => {
  let hub: TestHub;
  let folder: string;
  let settledUrl: string;
  let receiverPort: number;
  const opened = closeAfterTests();
  before(async () => {
    // The URLs that the hub gives to the platforms contain the port.
    const env = { PORT: String(await freePort()), WEBHOOKS_ALLOW_PRIVATE: "true" };
    hub = opened.use(await startTestHub({ env }));
    for (const channel of ["whatsapp", "telegram"]) await hub.simulator.settings(channel, { enforce_window: true });
    folder = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-guides-"));
    opened.defer(() => rmSync(folder, { recursive: true, force: true }));
    linkCheckout(root, folder);
    receiverPort = await freePort();
    const settled = createServer((_request, response) => {
      hub.settled().then(
        () => response.end(),
        (error: Error) => response.writeHead(503).end(error.message),
      );
    }).listen(0, "127.0.0.1");
    opened.defer(() => void settled.close());
    await once(settled, "listening");
    settledUrl = `http://127.0.0.1:${(settled.address() as { port: number }).port}`;
  });

  /** Replaces what you replace, the URL of the hub and the password, and a download by what is installed. */
  function here(text: string): string {
    return text
      .replaceAll("http://127.0.0.1:8080", hub.url)
      .replaceAll("http://127.0.0.1:8090", hub.simulator.url)
      .replaceAll("http://127.0.0.1:3000", `http://127.0.0.1:${receiverPort}`)
      .replaceAll("the password that was printed", adminPassword)
      .replaceAll(`npx openapi-typescript@${typesGenerator}`, "contract/node_modules/.bin/openapi-typescript");
  }

  function isExcused(page: string, name: string): boolean {
    return Object.keys(notRun[page] ?? {}).some((start) => name.startsWith(start));
  }

  function isRun(page: string, { language, name, file }: Block): boolean {
    return (file !== null || language === "sh") && !isExcused(page, name);
  }

  for (const page of pages) {
    test(page, async () => {
      const blocks = readBlocks(readPage(root, page));
      const withoutLanguage = blocks.filter(({ language }) => language === "").map(({ line }) => line);
      assert.deepEqual(withoutLanguage, [], "blocks without a language: sh is run, text is not");
      for (const start of Object.keys(notRun[page] ?? {})) {
        assert.ok(
          blocks.some(({ name }) => name.startsWith(start)),
          `no block begins with ${start}`,
        );
      }
      const code = blocks.filter(({ language, file, name }) => {
        return ["js", "ts"].includes(language) && file === null && !isExcused(page, name);
      });
      assert.deepEqual(code, [], "code that is not saved as a file and not excused");

      for (const sql of blocks.filter(({ language }) => language === "sql")) await runAndUndo(sql.text);
      const problems = await runGuide({
        blocks: blocks
          .map(withBanner)
          .filter((block) => block.language === "json" || isRun(page, block))
          .map((block) => ({ ...block, text: here(block.text) })),
        folder,
        env: {
          ...sharedSecrets,
          DATABASE_URL: hub.databaseUrl,
          PORT: String(receiverPort),
          PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
        },
        open,
        settledUrl,
      });
      assert.deepEqual(problems, []);
    });
  }

  /** Replaces the README's example of a start's output with the output of this hub. */
  function withBanner(block: Block): Block {
    if (!block.text.includes("Chat4All is ready.")) return block;
    const printed = bannerOf({ ...hub.hub, admin: { username: "admin", password: adminPassword } });
    const lines = printed.split("\n").filter((line) => /^(TOKEN=|curl|sleep)/.test(line));
    return { ...block, language: "sh", text: lines.join("\n") };
  }

  test("the README shows the output of a start", () => {
    const block = readBlocks(readPage(root, "README.md")).find(({ text }) => text.includes("Chat4All is ready."))!;
    const [, password] = /password: (\S+)/.exec(block.text)!;
    const printed = bannerOf({
      url: "http://127.0.0.1:8080",
      simulatorUrl: "http://127.0.0.1:8090",
      simulatedChannels: ["whatsapp", "telegram"],
      admin: { username: "admin", password: password! },
    });
    for (const shown of block.text.split(/…|\n/)) assert.ok(printed.includes(shown), shown);
  });

  async function runAndUndo(sql: string): Promise<void> {
    const client = createClient({ url: hub.databaseUrl, applicationName: "guides" });
    await client.connect();
    try {
      await client.query(`BEGIN; ${sql}; ROLLBACK`);
    } finally {
      await client.end();
    }
  }

  test("simulator/README.md", async () => {
    await using simulator = await startSimulator();
    // The program at the webhook URL that the README sets: it completes the platform's handshake.
    const program = createServer(({ url }, response) => {
      response.end(new URL(url ?? "/", "http://program").searchParams.get("hub.challenge"));
    }).listen(0, "127.0.0.1");
    await once(program, "listening");
    try {
      const { port } = program.address() as { port: number };
      const commands = readBlocks(readPage(root, "simulator/README.md")).filter(({ language, name }) => {
        return language === "sh" && !name.startsWith("node simulator/src/main.ts");
      });
      const blocks = commands.map((block) => ({
        ...block,
        text: block.text
          .replaceAll("http://127.0.0.1:8090", simulator.url)
          .replaceAll("http://127.0.0.1:8080", `http://127.0.0.1:${port}`),
      }));
      assert.deepEqual(await runGuide({ blocks, folder, env: {} }), []);
    } finally {
      program.closeAllConnections();
      program.close();
    }
  });

  test("the list has every guide", () => {
    const guides = readdirSync(join(root, "docs/guides")).map((name) => `docs/guides/${name}`);
    assert.deepEqual([...pages.slice(1), ...Object.keys(elsewhere)].toSorted(), guides.toSorted());
  });
});
