import type { ClamdAddress } from "../lib/clamd.ts";
import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";

/** Files: what is accepted, and where their bytes are. */
export function readFiles(read: EnvReader) {
  return {
    allowedTypes: read.value(
      "FILES_ALLOWED_TYPES",
      kind.listOf(mediaType),
      defaultTypes.join(),
      "Media types of files that are accepted, by their bytes; * at the end stands for all that begin so.",
    ),
    /** Bytes of all files of a workspace; `null`: no limit. */
    quotaBytes: read.value(
      "FILES_QUOTA",
      kind.wordOr("off", kind.size("1MiB", "1024TiB")),
      "off",
      "The most bytes that the files of one workspace may take.",
    ),
    uploadTtlMs: read.value(
      "UPLOAD_TTL",
      kind.duration("1m", "30d"),
      "1d",
      "How long an upload may take before it is given up.",
    ),
    linkTtlMs: read.value(
      "FILE_LINKS_TTL",
      kind.duration("1m", "365d"),
      "7d",
      "How long the links are valid that people get for files which their platform does not take.",
    ),
    /** `null`: in DATA_DIR. */
    s3: readS3(read),
    ...readScan(read),
  };
}

function readScan(read: EnvReader) {
  const clamav = read.optional(
    "CLAMAV_URL",
    clamdAddress,
    "files are not scanned",
    "Where ClamAV's daemon listens, which scans files for malware before anybody can download them.",
  );
  const unscannable = read.value(
    "CLAMAV_UNSCANNABLE",
    kind.oneOf("reject", "accept"),
    "reject",
    "What becomes of files that clamd does not scan to their end, because they are too large for it or broken.",
  );
  if (clamav === null && unscannable === "accept") {
    read.problem("CLAMAV_UNSCANNABLE=accept is set without CLAMAV_URL: give the URL, or leave both out.");
  }
  return { clamav, acceptsUnscanned: unscannable === "accept" };
}

const clamdAddress: kind.EnvKind<ClamdAddress> = {
  must: "a URL such as tcp://127.0.0.1:3310 or unix:///run/clamav/clamd.ctl",
  parse(value) {
    const url = URL.parse(value);
    if (url === null || url.search || url.hash || url.username || url.password) return undefined;
    if (url.protocol === "unix:") return url.host === "" && url.pathname !== "/" ? { path: url.pathname } : undefined;
    const isPlain = url.protocol === "tcp:" && url.hostname !== "" && /^\/?$/.test(url.pathname);
    return isPlain ? { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 3310) } : undefined;
  },
  print: (address) => ("path" in address ? `unix://${address.path}` : `tcp://${address.host}:${address.port}`),
};

function readS3(read: EnvReader) {
  const bucket = read.optional("S3_BUCKET", kind.text, "files are in DATA_DIR", "A bucket for the bytes of files.");
  const endpoint = read.optional("S3_ENDPOINT", kind.webUrl, "that of AWS", "The URL of the S3 server.");
  const region = read.value("S3_REGION", kind.text, "us-east-1", "Its region.");
  const accessKeyId = read.optional("S3_ACCESS_KEY_ID", kind.text, "none", "The access key.");
  const secretAccessKey = read.optional("S3_SECRET_ACCESS_KEY", kind.secretText(1), "none", "Its secret.");
  const addressing = read.value(
    "S3_ADDRESSING",
    kind.oneOf("path", "host"),
    "path",
    "Whether the bucket is in the path of URLs or in their host name.",
  );
  if (bucket === null) {
    for (const key of ["S3_ENDPOINT", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"]) {
      if (read.isSet(key)) read.problem(`${key} is set without S3_BUCKET: give the bucket, or leave both out.`);
    }
    return null;
  }
  if (accessKeyId === null || secretAccessKey === null) {
    read.problem("S3_BUCKET needs S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY.");
    return null;
  }
  return { bucket, endpoint, region, accessKeyId, secretAccessKey, isPathStyle: addressing === "path" };
}

const mediaType: kind.EnvKind<string> = {
  must: "a media type such as image/png, or image/* for all of a kind",
  parse: (value) => (/^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]*\*?$/.test(value) ? value : undefined),
};

const defaultTypes = [
  ...["image/*", "audio/*", "video/*", "text/*", "message/rfc822"],
  ...["application/pdf", "application/json", "application/xml", "application/rtf", "application/epub+zip"],
  ...["application/msword", "application/vnd.ms-*", "application/x-cfb", "application/vnd.openxmlformats-*"],
  ...["application/vnd.oasis.opendocument.*", "application/zip", "application/gzip", "application/x-7z-compressed"],
];
