import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { FastifyReply } from "fastify";
import type { App } from "../http/app.ts";
import { docsPolicy } from "../http/security-headers.ts";

const require = createRequire(import.meta.url);
const contract = new URL("../../../contract/openapi.json", import.meta.url);

type Page = { type: string; read: () => string | Promise<string> };

const script = "text/javascript; charset=utf-8";

/** The files of the pages, by path; read at the first request. */
const files: Record<string, Page> = {
  "/openapi.json": { type: "application/json; charset=utf-8", read: () => readFile(contract, "utf8") },
  "/docs/swagger-ui.css": { type: "text/css; charset=utf-8", read: () => readSwagger("swagger-ui.css") },
  "/docs/swagger-ui.js": { type: script, read: () => readSwagger("swagger-ui-bundle.js") },
  "/docs/start.js": { type: script, read: () => startSwagger },
  "/redoc/redoc.js": { type: script, read: readRedoc },
};

const pages: Record<string, string> = {
  "/docs": pageOf(
    '<link rel="stylesheet" href="/docs/swagger-ui.css">',
    '<div id="swagger-ui"></div><script src="/docs/swagger-ui.js"></script><script src="/docs/start.js"></script>',
  ),
  "/redoc": pageOf(
    "<style>body { margin: 0; }</style>",
    '<redoc spec-url="/openapi.json" hide-loading></redoc><script src="/redoc/redoc.js"></script>',
  ),
};

/** `/openapi.json`, and the pages that show it. The hub serves all files; the pages load nothing from other hosts. */
export function docsPages(app: App): void {
  const hidden = { config: { access: "public" } } as const;
  for (const [path, { type, read }] of Object.entries(files)) {
    let text: string | undefined;
    const maxAge = path === "/openapi.json" ? "no-cache" : "public, max-age=86400";
    app.get(path, hidden, async (_request, reply) => {
      text ??= await read();
      return reply.type(type).header("cache-control", maxAge).send(text);
    });
  }
  for (const [path, page] of Object.entries(pages)) {
    const show = async (_request: unknown, reply: FastifyReply) =>
      reply.type("text/html; charset=utf-8").header("content-security-policy", docsPolicy).send(page);
    app.get(path, hidden, show);
    app.get(`${path}/`, hidden, show);
  }
}

function pageOf(head: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Chat4All API</title>
<link rel="icon" href="data:,">
${head}
</head>
<body>${body}</body>
</html>
`;
}

const startSwagger = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, docExpansion: "list" });
`;

function readSwagger(file: string): Promise<string> {
  return readFile(join(dirname(require.resolve("@fastify/swagger-ui/package.json")), "static", file), "utf8");
}

/** Without the vendor's logo, which it loads from another host: the page's policy refuses that. */
async function readRedoc(): Promise<string> {
  const file = join(dirname(require.resolve("redoc/package.json")), "bundles", "redoc.standalone.js");
  const emptyImage = "data:image/svg+xml,%3Csvg%20xmlns=%22http://www.w3.org/2000/svg%22/%3E";
  return (await readFile(file, "utf8")).replaceAll("https://cdn.redoc.ly/redoc/logo-mini.svg", emptyImage);
}
