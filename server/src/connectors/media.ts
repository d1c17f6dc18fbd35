/** A file in a message of a person. Besides `reference`, all is what the platform says of it: check it. */
export interface PlatformFile {
  /** The platform's id of the file, by which it is fetched. */
  readonly reference: string;
  /** Without parameters, in lower case. */
  readonly contentType: string | null;
  readonly filename: string | null;
  readonly bytes: number | null;
  /** SHA-256 in lower-case hex. */
  readonly checksum: string | null;
  /** Empty without one. */
  readonly caption: string;
}

/** A kind of message in which a platform takes files. */
export interface MediaKind {
  /** The platform's word: `image`, `voice` … */
  readonly kind: string;
  /** Null: every type. */
  readonly contentTypes: readonly string[] | null;
  readonly maxBytes: number;
  /** In characters; 0: it has no caption. */
  readonly maxCaptionLength: number;
}

/** The first kind that takes the file; null when the platform takes it in none. */
export function mediaKindOf<Kind extends MediaKind>(
  kinds: readonly Kind[],
  file: { contentType: string; bytes: number },
): Kind | null {
  const type = typeOf(file.contentType);
  const takes = ({ contentTypes, maxBytes }: Kind) =>
    file.bytes > 0 && file.bytes <= maxBytes && (contentTypes === null || contentTypes.includes(type ?? ""));
  return kinds.find(takes) ?? null;
}

/** The media type without its parameters, in lower case; null when it is none. */
export function typeOf(contentType: string): string | null {
  const type = contentType.split(";", 1)[0]!.trim().toLowerCase();
  return /^[\w.+-]{1,100}\/[\w.+-]{1,100}$/.test(type) ? type : null;
}
