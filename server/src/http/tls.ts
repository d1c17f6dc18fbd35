import type { Server, TlsOptions } from "node:tls";
import { type Certificate, type CertificateFiles, readCertificate } from "../lib/certificate.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import { repeat } from "../lib/repeat.ts";

export function tlsOptions(certificate: Certificate): TlsOptions {
  return { ...certificate, minVersion: "TLSv1.3" };
}

const readEveryMs = 60_000;

/**
 * Uses a renewed certificate without a restart, for new connections. While the files cannot be used, for example while
 * they are being replaced, the old certificate stays and the log says why.
 */
export function renewCertificate(
  server: Pick<Server, "setSecureContext">,
  { files, clock, log, everyMs = readEveryMs }: { files: CertificateFiles; clock: Clock; log: Log; everyMs?: number },
): { close(): Promise<void> } {
  let current = readCertificate(files);
  const read = async () => {
    const found = readCertificate(files);
    if (found.cert === current.cert && found.key === current.key) return;
    server.setSecureContext(tlsOptions(found));
    current = found;
    log.info({ file: files.certFile }, "a new TLS certificate is used from now on");
  };
  return repeat(clock, everyMs, read, (error) =>
    log.error({ reason: (error as Error).message }, "the TLS certificate stays as it was"),
  );
}
