/** What kind of document a file is, by its first bytes and by what it is called. */
import { DocumentError } from "./document-error.ts";

export type DocumentKind = "pdf" | "archive" | "image" | "html" | "email" | "markdown" | "text";

/** A type of file, and the kind as which it is read: OOXML and OpenDocument files are archives. */
const types: readonly { kind: DocumentKind; contentTypes: readonly string[]; extensions: readonly string[] }[] = [
  { kind: "pdf", contentTypes: ["application/pdf"], extensions: [".pdf"] },
  {
    kind: "archive",
    contentTypes: [
      "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
      "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
      "application/vnd.openxmlformats-officedocument.presentationml.presentation",
      "application/vnd.oasis.opendocument.text",
      "application/vnd.oasis.opendocument.spreadsheet",
      "application/vnd.oasis.opendocument.presentation",
    ],
    extensions: [".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp"],
  },
  {
    kind: "image",
    contentTypes: ["image/png", "image/jpeg", "image/webp"],
    extensions: [".png", ".jpg", ".jpeg", ".webp"],
  },
  { kind: "html", contentTypes: ["text/html", "application/xhtml+xml"], extensions: [".html", ".htm", ".xhtml"] },
  { kind: "email", contentTypes: ["message/rfc822"], extensions: [".eml"] },
  { kind: "markdown", contentTypes: ["text/markdown"], extensions: [".md", ".markdown"] },
  {
    kind: "text",
    contentTypes: ["application/json", "application/xml", "application/yaml"],
    extensions: [".txt", ".text", ".log", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml"],
  },
];

/** For files of which the sender does not say what they are. */
const unspecific = ["", "application/octet-stream", "binary/octet-stream"];

/** The first bytes that `kindOf` needs. */
export const headBytes = 64;

/**
 * The kind of a file. What its first bytes say is certain; only texts have none, so for them the content type decides,
 * then the extension of its name. Throws DOCUMENT_CORRUPT when the file is not what it is called, and DOCUMENT_TYPE_UNSUPPORTED.
 */
export function kindOf(head: Buffer, contentType: string, extension: string): DocumentKind {
  const declared = declaredKind(contentType, extension);
  const found = findKind(head);
  // An archive of another kind, such as a plain ZIP file, is recognised when its entries are known.
  if (found !== null && (found !== "archive" || declared === null || declared === "archive")) return found;
  if (declared === null) {
    throw new DocumentError("DOCUMENT_TYPE_UNSUPPORTED", "Files of this type are not read as documents.");
  }
  if (["pdf", "archive", "image"].includes(declared)) {
    throw new DocumentError("DOCUMENT_CORRUPT", "The file does not contain a document of the type that it is called.");
  }
  return declared;
}

/** By what a file is called. A container may be any document that its extension says. */
export function mayBeDocument(contentType: string, extension: string): boolean {
  return (declaredKind(contentType, extension) ?? declaredKind("", extension)) !== null;
}

function declaredKind(contentType: string, extension: string): DocumentKind | null {
  const type = contentType.split(";", 1)[0]!.trim().toLowerCase();
  const byExtension = types.find(({ extensions }) => extensions.includes(extension.toLowerCase()))?.kind ?? null;
  if (unspecific.includes(type)) return byExtension;
  const byType = types.find(({ contentTypes }) => contentTypes.includes(type))?.kind ?? null;
  if (byType !== null) return byType;
  if (!type.startsWith("text/") && !/\+(json|xml)$/.test(type)) return null;
  // Many programs call every text `text/plain`.
  return byExtension === "markdown" && type === "text/plain" ? "markdown" : "text";
}

function findKind(head: Buffer): DocumentKind | null {
  const text = head.toString("latin1");
  if (text.includes("%PDF-")) return "pdf";
  if (text.startsWith("PK\x03\x04") || text.startsWith("PK\x05\x06") || isCompoundFile(head)) return "archive";
  if (text.startsWith("\x89PNG\r\n\x1a\n") || text.startsWith("\xff\xd8\xff")) return "image";
  return text.startsWith("RIFF") && text.slice(8, 12) === "WEBP" ? "image" : null;
}

/** The container of Microsoft's older formats, and of an encrypted OOXML document. */
export function isCompoundFile(head: Buffer): boolean {
  return head.subarray(0, 8).toString("hex") === "d0cf11e0a1b11ae1";
}
