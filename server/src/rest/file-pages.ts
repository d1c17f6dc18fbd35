import type { RequestDb } from "../database-roles.ts";
import { type FileDeps, type OpenedLink, openLink, sizeOf } from "../files/files.ts";
import type { App } from "../http/app.ts";
import { escapeHtml, plainPage, plainPagePolicy } from "./plain-page.ts";

/** Below it people open files that their platform does not take. */
export const filePagePath = "/f";

/** Pages of files, for who has a link. The token in it is the credential; in no OpenAPI document. */
export function filePageRoutes(app: App, deps: FileDeps, dbOf: (workspaceId: string) => RequestDb): void {
  const options = {
    config: { access: "public" },
    schema: { params: { type: "object", properties: { token: { type: "string", maxLength: 100 } } } },
  } as const;
  const page = `${filePagePath}/:token`;

  app.get<{ Params: { token: string } }>(page, options, async ({ params: { token } }, reply) => {
    const opened = await openLink(deps, dbOf, token);
    reply.header("content-security-policy", plainPagePolicy).header("cache-control", "no-store");
    return reply.code(statusOf[opened.kind]).type("text/html; charset=utf-8").send(htmlOf(opened, token));
  });

  app.get<{ Params: { token: string } }>(`${page}/download`, options, async ({ params: { token } }, reply) => {
    const opened = await openLink(deps, dbOf, token);
    // The page says why there is none.
    return reply.redirect(opened.kind === "open" ? opened.url : `../${encodeURIComponent(token)}`, 302);
  });
}

const statusOf = { open: 200, pending: 202, expired: 410, missing: 404 } as const;

function htmlOf(opened: OpenedLink, token: string): string {
  if (opened.kind === "expired") {
    return plainPage("This link has expired", "<p>Ask for the file again, in the chat in which you got the link.</p>");
  }
  if (opened.kind === "pending") {
    return plainPage("The file is not ready yet", "<p>Reload this page in a few minutes.</p>");
  }
  if (opened.kind === "missing") {
    return plainPage("File not found", "<p>It was deleted, or the link is incomplete.</p>");
  }
  const { filename, bytes, content_type } = opened.file;
  const what = opened.isShown ? "Open" : "Download";
  const until = opened.expiresAt.toISOString().slice(0, 16).replace("T", " ");
  return plainPage(
    filename,
    `<p>${escapeHtml(`${sizeOf(bytes)}, ${content_type}`)}</p>
<p><a class="button" href="${encodeURIComponent(token)}/download">${what}</a></p>
<p>This link is valid until ${until} UTC.</p>`,
  );
}
