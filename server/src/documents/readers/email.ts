import PostalMime, { type Address, type Attachment, type Email } from "postal-mime";
import { DocumentError } from "../document-error.ts";
import type { Facts, Source } from "../reader.ts";
import { appendHtml } from "./html.ts";
import { readWhole } from "./read-whole.ts";

/** The headers that people see, the text, and the names of attachments, which are not opened. */
export async function readEmail(source: Source): Promise<Facts> {
  const email = await parse(readWhole(source));
  const { output } = source;
  for (const [name, value] of headersOf(email)) if (value !== "") output.append(`${name}: ${value}\n`);
  output.newLine();
  if (email.text?.trim()) output.append(email.text);
  else if (email.html) appendHtml(email.html, source);
  output.endLine();
  for (const attachment of email.attachments) output.append(`Attachment: ${nameOf(attachment)}\n`);
  return { title: email.subject };
}

async function parse(bytes: Buffer): Promise<Email> {
  let email: Email;
  try {
    email = await PostalMime.parse(bytes, { maxNestingDepth, maxHeadersSize });
  } catch (error) {
    throw new DocumentError("DOCUMENT_CORRUPT", "The email cannot be read.", { cause: error });
  }
  if (email.headers.length === 0) throw new DocumentError("DOCUMENT_CORRUPT", "The file is no email.");
  return email;
}

const maxNestingDepth = 32;
const maxHeadersSize = 256 * 1024;

function headersOf({ subject, from, to = [], cc = [], date }: Email): [name: string, value: string][] {
  return [
    ["Subject", subject ?? ""],
    ["From", from === undefined ? "" : shownAddress(from)],
    ["To", to.map(shownAddress).join(", ")],
    ["Cc", cc.map(shownAddress).join(", ")],
    ["Date", date ?? ""],
  ];
}

function shownAddress({ name, address, group }: Address): string {
  if (group !== undefined) return `${name}: ${group.map(shownAddress).join(", ")}`;
  return name ? `${name} <${address}>` : (address ?? "");
}

function nameOf({ filename, mimeType }: Attachment): string {
  return filename ? `${filename} (${mimeType})` : mimeType;
}
