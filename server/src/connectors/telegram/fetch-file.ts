import { hiding, jsonHeaders, notFetched, readFile } from "../call.ts";
import { cleanDetail } from "../clean.ts";
import type { ConnectorIo, FetchedFile } from "../connector.ts";
import { numberAt, objectAt, parseObject, textAt } from "../json.ts";
import { fileUrl, methodUrl, secretsOf, type TelegramAccount } from "./credentials.ts";
import { filePath } from "./media.ts";

/** Files of more than 20 MB are refused. Source: Bot API, `getFile`. */
export async function openFile(
  reference: string,
  account: TelegramAccount,
  io: ConnectorIo,
  signal: AbortSignal,
): Promise<FetchedFile> {
  const hide = hiding(...secretsOf(account.credentials));
  try {
    const { status, body } = await io.http({
      method: "POST",
      url: methodUrl(account, "getFile"),
      headers: jsonHeaders,
      body: JSON.stringify({ file_id: reference }),
      timeoutMs: io.timeoutMs,
      signal,
    });
    const json = parseObject(body) ?? {};
    const path = json.ok === true ? filePath(objectAt(json, "result")) : null;
    if (path !== null) return await readFile(io, { url: fileUrl(account, path), signal }, null, hide);
    const detail = cleanDetail(hide(`${status}: ${textAt(json, "description") || "not a file of the platform"}`));
    if (json.ok === true || numberAt(json, "error_code") === 400) return { kind: "gone", detail };
    const seconds = numberAt(objectAt(json, "parameters"), "retry_after");
    return { kind: "retry", afterMs: seconds >= 0 ? seconds * 1000 : null, detail };
  } catch (error) {
    return notFetched(error, hide);
  }
}
