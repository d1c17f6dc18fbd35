import type { Server, TlsOptions } from "node:tls";
import { type Certificate, type CertificateFiles, readCertificate } from "../lib/certificate.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import { repeat } from "../lib/repeat.ts";

/** TLS 1.3 and nothing older. */
export function tlsOptions(certificate: Certificate): TlsOptions {
  return { ...certificate, minVersion: "TLSv1.3" };
}

/** How often the files are looked at: so long a renewed certificate waits, in milliseconds. */
const lookEveryMs = 60_000;

/**
 * Takes a renewed certificate into use without a restart: connections made from then on get it. Files that cannot be used,
 * as while they are being replaced, are told in the log, and the certificate before stays.
 */
export function renewCertificate(
  server: Pick<Server, "setSecureContext">,
  { files, clock, log, everyMs = lookEveryMs }: { files: CertificateFiles; clock: Clock; log: Log; everyMs?: number },
): { close(): Promise<void> } {
  let current = readCertificate(files);
  const look = async () => {
    const found = readCertificate(files);
    if (found.cert === current.cert && found.key === current.key) return;
    server.setSecureContext(tlsOptions(found));
    current = found;
    log.info({ file: files.certFile }, "a new TLS certificate is used from now on");
  };
  return repeat(clock, everyMs, look, (error) =>
    log.error({ reason: (error as Error).message }, "the TLS certificate stays as it was"),
  );
}
