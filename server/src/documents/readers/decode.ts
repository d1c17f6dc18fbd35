import { analyse } from "chardet";
import { DocumentError } from "../document-error.ts";

/**
 * The text of a file in any encoding: by its byte order mark, else as UTF-8 if it is, else in the declared encoding,
 * else in the one that its bytes suggest. Throws DOCUMENT_CORRUPT when it is no text.
 */
export function decodeText(bytes: Buffer, declared?: string): string {
  const encoding = markedEncoding(bytes) ?? unmarkedUtf16(bytes);
  if (encoding !== undefined) return new TextDecoder(encoding).decode(bytes);
  if (bytes.subarray(0, sampleBytes).includes(0)) throw notText();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return decoderFor(declared, bytes).decode(bytes);
  }
}

/** The parameter `charset` of a content type. */
export function charsetOf(contentType: string): string | undefined {
  return /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType)?.[1];
}

const sampleBytes = 64 * 1024;
/** From 0 to 100. Below it, the encoding of most of the world's texts that are not UTF-8 is the better guess. */
const leastConfidence = 30;

function markedEncoding(bytes: Buffer): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe && !(bytes[2] === 0 && bytes[3] === 0)) return "utf-16le";
  return bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : undefined;
}

/** In UTF-16, every second byte of most texts is zero: spaces, digits and line breaks at least. */
function unmarkedUtf16(bytes: Buffer): string | undefined {
  const sample = bytes.subarray(0, Math.min(sampleBytes, bytes.length & ~1));
  const zeros = [0, 0];
  for (let at = 0; at < sample.length; at += 1) if (sample[at] === 0) zeros[at % 2]! += 1;
  const [even, odd] = zeros as [number, number];
  const least = sample.length / 2 / 10;
  if (odd > least && even < odd / 100) return "utf-16le";
  return even > least && odd < even / 100 ? "utf-16be" : undefined;
}

function decoderFor(declared: string | undefined, bytes: Buffer): TextDecoder {
  for (const encoding of [declared, detectedEncoding(bytes), "windows-1252"]) {
    // Not UTF-8: it was tried. An encoding that Node.js does not know is none.
    if (encoding === undefined || /^utf-?8$/i.test(encoding)) continue;
    try {
      return new TextDecoder(encoding);
    } catch {}
  }
  throw notText();
}

function detectedEncoding(bytes: Buffer): string | undefined {
  const best = analyse(bytes.subarray(0, sampleBytes))[0];
  return best !== undefined && best.confidence >= leastConfidence ? best.name : undefined;
}

function notText(): DocumentError {
  return new DocumentError("DOCUMENT_CORRUPT", "The file is no text in an encoding that is known.");
}
