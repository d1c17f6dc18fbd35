import type { Describe } from "./describe.ts";

interface Source {
  types: RegExp;
  /** Loaded when it is needed: they are large. */
  load(): Promise<Describe>;
}

const sources: readonly Source[] = [
  {
    types: /^image\/(jpeg|png|webp|gif|avif|hei[cf](-sequence)?|bmp|tiff)$/,
    load: async () => (await import("./image.ts")).describeImage,
  },
  { types: /^application\/pdf$/, load: async () => (await import("./pdf.ts")).describePdf },
  { types: /^(audio|video)\//, load: async () => (await import("./media.ts")).describeMedia },
];

export function findSource(contentType: string): Source | null {
  return sources.find(({ types }) => types.test(contentType)) ?? null;
}
