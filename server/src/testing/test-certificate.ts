import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CertificateFiles } from "../lib/certificate.ts";

/** A folder for certificates; each is for `localhost` and 127.0.0.1, self-signed, and lives for a day. */
export function openCertificateFolder() {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-tls-"));
  return {
    folder,
    /** Made by the `openssl` of this machine. The same name replaces it, with another key. */
    make(name: string): CertificateFiles {
      const files = { certFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) };
      execFileSync(
        "openssl",
        [
          ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"],
          ...["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
          ...["-keyout", files.keyFile, "-out", files.certFile],
        ],
        { stdio: "ignore" },
      );
      return files;
    },
    [Symbol.dispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
