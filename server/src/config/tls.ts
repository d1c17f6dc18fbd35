import { resolve } from "node:path";
import type { CertificateFiles } from "../lib/certificate.ts";
import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";

/** Null: the hub serves plain HTTP; a proxy in front may add TLS. */
export function readTls(read: EnvReader): CertificateFiles | null {
  const certFile = read.optional(
    "TLS_CERT_FILE",
    kind.text,
    "plain HTTP",
    "A certificate with its chain, in PEM: the hub then serves TLS 1.3.",
  );
  const keyFile = read.optional("TLS_KEY_FILE", kind.text, "none", "The private key of that certificate, in PEM.");
  if ((certFile === null) !== (keyFile === null)) {
    const missing = certFile === null ? "TLS_CERT_FILE" : "TLS_KEY_FILE";
    read.problem(`${missing} is missing: give both TLS_CERT_FILE and TLS_KEY_FILE, or none.`);
  }
  return certFile === null || keyFile === null ? null : { certFile: resolve(certFile), keyFile: resolve(keyFile) };
}
