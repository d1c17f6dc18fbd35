import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { StartError } from "./start-error.ts";

export interface CertificateFiles {
  certFile: string;
  keyFile: string;
}

export interface Certificate {
  cert: string;
  key: string;
}

/** Throws a `StartError` when a file cannot be read or the two do not match. */
export function readCertificate({ certFile, keyFile }: CertificateFiles): Certificate {
  const cert = read("TLS_CERT_FILE", certFile);
  const key = read("TLS_KEY_FILE", keyFile);
  if (!parseCertificate(cert, certFile).checkPrivateKey(parseKey(key, keyFile))) {
    throw new StartError(
      `The key in ${keyFile} does not match the certificate in ${certFile}: give the private key of that certificate.`,
    );
  }
  return { cert, key };
}

function read(variable: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(`${variable} ${file} cannot be read (${code}): give a file that this user may read.`, {
      cause: error,
    });
  }
}

function parseCertificate(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new StartError(`${file} holds no certificate: TLS_CERT_FILE needs one in PEM.`, { cause: error });
  }
}

function parseKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new StartError(`${file} holds no private key: TLS_KEY_FILE needs one in PEM, without a passphrase.`, {
      cause: error,
    });
  }
}
