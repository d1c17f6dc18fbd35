/** Most parts read from one body. */
const MAX_PARTS = 200;

/** An uploaded file: its bytes are counted, not kept. */
export interface UploadedFile {
  filename: string;
  content_type: string;
  size: number;
}

/**
 * The parts of a `multipart/form-data` body by name: text as a string, files as `UploadedFile`.
 * `undefined` when the body does not follow its boundary.
 */
export function parseMultipart(body: Buffer, contentType: string): Record<string, string | UploadedFile> | undefined {
  const boundary = /boundary=(?:"([^"]{1,200})"|([^;\s]{1,200}))/i.exec(contentType);
  if (!boundary) return undefined;
  const delimiter = Buffer.from(`--${boundary[1] ?? boundary[2]}`);
  const fields: Record<string, string | UploadedFile> = {};
  let start = body.indexOf(delimiter);
  for (let part = 0; part < MAX_PARTS && start >= 0; part++) {
    const from = start + delimiter.length;
    if (body.toString("latin1", from, from + 2) === "--") return fields;
    const end = body.indexOf(delimiter, from);
    if (end < 0) return undefined;
    addPart(fields, body.subarray(from + 2, end - 2));
    start = end;
  }
  return undefined;
}

function addPart(fields: Record<string, string | UploadedFile>, part: Buffer): void {
  const headEnd = part.indexOf("\r\n\r\n");
  if (headEnd < 0) return;
  const head = part.toString("utf8", 0, headEnd);
  const content = part.subarray(headEnd + 4);
  const name = /^content-disposition:.*?[;\s]name="([^"]*)"/im.exec(head)?.[1];
  if (name === undefined) return;
  const filename = /^content-disposition:.*?[;\s]filename="([^"]*)"/im.exec(head)?.[1];
  const type = /^content-type:\s*(\S+)/im.exec(head)?.[1] ?? "application/octet-stream";
  fields[name] = filename === undefined ? content.toString() : { filename, content_type: type, size: content.length };
}
