import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, line, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";

/** Bytes. */
export const maxFileBytes = 2 ** 31;
/** Of an upload, at the most. */
export const maxParts = 256;

const filename = Type.String({ ...line(255), description: "One line of text, not blank. Never used as a path." });
export const contentTypePattern = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$";
export const checksumPattern = "^[0-9a-f]{64}(-[1-9][0-9]{0,2})?$";
export const sha256Pattern = "^[0-9a-f]{64}$";

const contentType = Type.String({
  maxLength: 127,
  pattern: contentTypePattern,
  description: "A media type without parameters.",
});
const checksum = Type.String({
  pattern: checksumPattern,
  description:
    "The SHA-256 of the file in hexadecimal digits; or, with `-` and the number of parts behind it, that of the SHA-256s of its " +
    "parts one after the other, 32 bytes each. The second is verified without reading the file again where the store keeps the checksums of parts.",
});
const conversationId = Type.Optional({
  ...uuid,
  description: "A conversation of the caller, whose members may read the file as soon as it is completed.",
});

export const FileStatus = named(
  "FileStatus",
  Type.Enum(["uploading", "receiving", "scanning", "completed", "rejected", "deleted"]),
);

export const File = named(
  "File",
  Type.Object({
    file_id: Type.String(),
    filename: Type.String(),
    size: Type.Integer({ description: "Bytes." }),
    content_type: nullable(Type.String(), {
      description: "Detected from the content; null until the file is completed.",
    }),
    checksum: nullable(Type.String(), {
      description: "The verified checksum, in the form in which it was sent; null until then.",
    }),
    status: FileStatus,
    error: nullable(Type.Object({ code: Type.String(), message: Type.String() }), {
      description: "Why it was rejected; else null.",
    }),
    width: nullable(Type.Integer(), {
      description:
        "Pixels of an image or a video, as it is shown. This and the next four are found out after the file is completed: null until " +
        "then, where there is nothing to find out, and when the file cannot be read.",
    }),
    height: nullable(Type.Integer()),
    duration_ms: nullable(Type.Integer(), { description: "Milliseconds, of audio and video." }),
    pages: nullable(Type.Integer(), { description: "Of a PDF." }),
    has_thumbnail: Type.Boolean({ description: "Whether `GET /v1/files/{id}/thumbnail` has an image of it." }),
    uploaded_by: nullable(Type.String(), { description: "The participant who uploaded or sent it." }),
    created_at: time,
    completed_at: nullable(time),
    expires_at: nullable(time, { description: "When an unfinished upload is deleted; else null." }),
  }),
  {
    file_id: "0197a7a4-6a1c-7d55-8a53-0d9c3f9a6c11",
    filename: "offer.pdf",
    size: 48_120,
    content_type: "application/pdf",
    checksum: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    status: "completed",
    error: null,
    width: null,
    height: null,
    duration_ms: null,
    pages: 3,
    has_thumbnail: true,
    uploaded_by: "0197a7a4-1111-7d55-8a53-0d9c3f9a6c11",
    created_at: "2026-11-30T12:00:00.000Z",
    completed_at: "2026-11-30T12:00:01.000Z",
    expires_at: null,
  },
);

const part = {
  part_number: Type.Integer(),
  size: Type.Integer({ description: "Size in bytes: send exactly so many, in one request." }),
  url: Type.String({
    description: "`PUT` the part's bytes here, without another credential. Valid until `urls_expire_at`.",
  }),
};

export const Upload = named(
  "Upload",
  Type.Object({
    file_id: Type.String(),
    status: FileStatus,
    part_size: Type.Integer({ description: "Bytes of each part but the last, which has the rest." }),
    parts: Type.Array(Type.Object(part)),
    urls_expire_at: time,
    expires_at: time,
  }),
);

export const UploadParts = named(
  "UploadParts",
  Type.Object({
    file_id: Type.String(),
    status: FileStatus,
    part_size: Type.Integer(),
    parts: Type.Array(
      Type.Object({
        ...part,
        url: nullable(Type.String(), { description: "Null when the part is stored." }),
        etag: nullable(Type.String(), { description: "Of the stored part; null when it is missing." }),
      }),
    ),
    urls_expire_at: time,
    expires_at: time,
  }),
);

const NewUpload = named(
  "NewUpload",
  Type.Object(
    {
      filename,
      size: Type.Integer({ minimum: 0, description: `Bytes, at most ${maxFileBytes.toLocaleString("en")}.` }),
      content_type: Type.Optional(contentType),
      checksum: Type.Optional(checksum),
      conversation_id: conversationId,
    },
    closed,
  ),
  { filename: "offer.pdf", size: 48_120, content_type: "application/pdf" },
);

const UploadEnd = named(
  "UploadEnd",
  Type.Object(
    {
      file_id: uuid,
      checksum,
      parts: Type.Optional(
        Type.Array(
          Type.Object(
            { part_number: Type.Integer({ minimum: 1, maximum: maxParts }), etag: Type.String({ maxLength: 200 }) },
            closed,
          ),
          { maxItems: maxParts, description: "What the client uploaded; a part with another etag is an error." },
        ),
      ),
    },
    closed,
  ),
  {
    file_id: "0197a7a4-6a1c-7d55-8a53-0d9c3f9a6c11",
    checksum: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  },
);

const fileFields = {
  conversation_id: conversationId,
  checksum: Type.Optional(
    Type.String({ pattern: sha256Pattern, description: "The SHA-256 of the file in hexadecimal digits." }),
  ),
};

/** What a form says about its file. */
export const FormFields = Type.Object({ filename, ...fileFields }, closed);

const FileForm = named(
  "FileForm",
  Type.Object(
    {
      file: Type.String({ format: "binary", description: "The file, with its name as `filename`." }),
      ...fileFields,
    },
    closed,
  ),
  { file: "(bytes)", conversation_id: "0197a7a4-2222-7d55-8a53-0d9c3f9a6c11" },
);

const FileLink = named(
  "FileLink",
  Type.Object({
    url: Type.String({
      description:
        "Download URL; needs no credential, and supports range requests. Types that are safe in a browser are displayed, all others downloaded.",
    }),
    expires_at: time,
  }),
);

const redirectQuery = Type.Object(
  { redirect: Type.Optional(Type.Boolean({ description: "Respond with 302 and the URL as `location`." })) },
  closed,
);

const read = { role: "member", scope: "files:read" } as const;
const write = { role: "member", scope: "files:write" } as const;

export const files = operations("Files", {
  initiateUpload: {
    method: "POST",
    path: "/v1/files/initiate",
    summary: "Start an upload in parts",
    description:
      "Then `PUT` each part to its URL, in parallel and in any order, repeat those that fail, and complete the upload. After any interruption " +
      "`GET /v1/files/{id}/parts` says which parts are missing.",
    access: write,
    idempotent: true,
    shows: "all",
    body: NewUpload,
    answers: { 201: Upload },
    errors: [409, 413, 415],
  },
  completeUpload: {
    method: "POST",
    path: "/v1/files/complete",
    summary: "Complete an upload",
    description:
      "Verifies the checksum and what the bytes are. A file with another checksum (`CHECKSUM_MISMATCH`), or of a type that is not allowed or not " +
      "what its name says (`FILE_TYPE_INVALID`), is rejected. Where files are scanned for malware, the file is `scanning` until " +
      "that is done, then `completed`, or `rejected` with `FILE_INFECTED` or `FILE_NOT_SCANNED`. A second call gets the same response.",
    access: write,
    // It may read 2 GiB, which says nothing about how busy the hub is.
    admission: "always",
    shows: "all",
    body: UploadEnd,
    answers: { 200: File },
    errors: [409, 415, 422],
  },
  listUploadParts: {
    method: "GET",
    path: "/v1/files/{id}/parts",
    summary: "List the parts of an upload, with new URLs for those that are missing",
    access: write,
    shows: "all",
    answers: { 200: UploadParts },
    errors: [409],
  },
  uploadFile: {
    method: "POST",
    path: "/v1/files",
    summary: "Upload a file in one request",
    description:
      "The hub streams the file to where files are kept. Fields may come before or after it. Nothing of a request that is cut off is kept, " +
      "and one that is repeated makes another file: to resume, and to send large files, start an upload in parts. " +
      "Errors are those of the upload in parts, too.",
    access: write,
    admission: "uncounted",
    shows: "all",
    body: FileForm,
    bodyType: "multipart/form-data",
    answers: { 201: File },
    errors: [409, 413, 415, 422],
  },
  listFiles: {
    method: "GET",
    path: "/v1/files",
    summary: "List your own files, newest first",
    access: read,
    query: Type.Object({ ...pageQuery }, closed),
    answers: { 200: pageOf(File) },
  },
  getFile: {
    method: "GET",
    path: "/v1/files/{id}",
    summary: "Get a file",
    description: "For its uploader, and members of conversations in which it was sent.",
    access: read,
    answers: { 200: File },
  },
  downloadFile: {
    method: "GET",
    path: "/v1/files/{id}/download",
    summary: "Get a download URL, valid for an hour",
    access: read,
    query: redirectQuery,
    answers: { 200: FileLink, 302: null },
    errors: [409],
  },
  getThumbnail: {
    method: "GET",
    path: "/v1/files/{id}/thumbnail",
    summary: "Get a URL of a file's thumbnail, valid for an hour",
    description:
      "A WebP image within 320 × 320 pixels, of an image or the first page of a PDF, without metadata such as the place of a photo. " +
      "404 while `has_thumbnail` is false.",
    access: read,
    query: redirectQuery,
    answers: { 200: FileLink, 302: null },
    errors: [409],
  },
  deleteFile: {
    method: "DELETE",
    path: "/v1/files/{id}",
    summary: "Delete a file",
    description:
      "By its uploader or an admin. Messages keep its name, and say that it was deleted. Ends an upload, too.",
    access: write,
    answers: { 204: null },
  },
});
