import { FormFields, files, maxFileBytes } from "../../../contract/src/files.ts";
import { invalid } from "../errors.ts";
import {
  completeUpload,
  deleteFile,
  type FileDeps,
  fileTooLarge,
  findFile,
  findUpload,
  linkToFile,
  linkToThumbnail,
  listOwnFiles,
  receiveFile,
  type StartedUpload,
  showFile,
  startUpload,
} from "../files/files.ts";
import type { App } from "../http/app.ts";
import { readFileForm } from "../http/file-form.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import { compileCheck } from "../http/validation.ts";

const checkFields = compileCheck(FormFields, "form");

export async function fileRoutes(app: App, deps: FileDeps): Promise<void> {
  route(app, files.initiateUpload, async ({ principal, db, body }) => {
    const { parts, ...upload } = showUpload(await startUpload(deps, db, principal, body));
    return { ...upload, parts: parts.map(({ etag: _, url, ...part }) => ({ ...part, url: url! })) };
  });

  route(app, files.completeUpload, async ({ principal, db, body, raw }) => {
    // It may read 2 GiB; the time limits of the store hold.
    raw.setTimeout(0);
    return showFile(await completeUpload(deps, db, principal, body));
  });

  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    // Read by the handler.
    scope.addContentTypeParser("multipart/form-data", (_request, _body, done) => done(null));
    route(scope, files.uploadFile, async ({ principal, db, raw }) => {
      const form = await readFileForm(raw, { fileField: "file", maxFileBytes, tooLarge: fileTooLarge });
      const facts = async (when: "before" | "after") => {
        const fields = when === "before" ? form.earlyFields : await form.fields;
        if (form.filename === undefined) throw invalid("The part with the file needs a filename.", { field: "file" });
        if ("filename" in fields) throw invalid("The name of the file belongs to its part: filename is no field.");
        return checkFields({ ...fields, filename: form.filename });
      };
      try {
        return showFile(await receiveFile(deps, db, principal, { content: form.content, facts }));
      } catch (error) {
        throw form.failure() ?? error;
      } finally {
        form.content.destroy();
      }
    });
  });

  route(app, files.listUploadParts, async ({ principal, db, params }) =>
    showUpload(await findUpload(deps, db, principal, params.id)),
  );

  route(app, files.listFiles, async ({ principal, db, query: { limit = 50, cursor } }) => {
    const rows = await listOwnFiles(db, principal, { limit: limit + 1, after: decodeCursor(cursor) });
    return toPage(rows, limit, showFile, (row) => ({ at: row.created_at, id: row.file_id }));
  });

  route(app, files.getFile, async ({ principal, db, params }) => showFile(await findFile(db, principal, params.id)));

  route(app, files.downloadFile, async ({ principal, db, params, query }, reply) => {
    const { url, expiresAt } = await linkToFile(deps, db, principal, params.id);
    if (query.redirect === true) return void reply.redirect(url, 302);
    return { url, expires_at: expiresAt.toISOString() };
  });

  route(app, files.getThumbnail, async ({ principal, db, params, query }, reply) => {
    const { url, expiresAt } = await linkToThumbnail(deps, db, principal, params.id);
    if (query.redirect === true) return void reply.redirect(url, 302);
    return { url, expires_at: expiresAt.toISOString() };
  });

  route(app, files.deleteFile, ({ principal, db, params }) => deleteFile(db, principal, params.id));
}

function showUpload({ file, parts, urlsExpireAt }: StartedUpload) {
  return {
    file_id: file.file_id,
    status: file.status,
    part_size: file.part_bytes,
    parts: parts.map(({ number, bytes, url, etag }) => ({ part_number: number, size: bytes, url, etag })),
    urls_expire_at: urlsExpireAt.toISOString(),
    expires_at: file.expires_at!.toISOString(),
  };
}
