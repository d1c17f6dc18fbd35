/** The beginning of a generated file, so that it passes for one of its type. Smallest whole files, but for the MP3. */
const beginnings: Record<string, Buffer> = {
  "image/jpeg": jpegFrom("CAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"),
  "image/png": Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAD0lEQVR4nGNowAEYhpYEAILzYAGc7g8kAAAAAElFTkSuQmCC",
    "base64",
  ),
  "image/webp": Buffer.from("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==", "base64"),
  "audio/ogg": Buffer.from(
    "T2dnUwACAAAAAAAAAAABAAAAAAAAAIRs2SQBE09wdXNIZWFkAQEAAIC7AAAAAABPZ2dTAAAAAAAAAAAAAAEAAAABAAAAh1hgGgEQT3B1c1RhZ3MA" +
      "AAAAAAAAAE9nZ1MABMADAAAAAAAAAQAAAAIAAAApk7DdAQP4//4=",
    "base64",
  ),
  "audio/mpeg": Buffer.from("fffb9064".padEnd(834, "0"), "hex"),
  "video/mp4": Buffer.from(
    "AAAAHGZ0eXBpc29tAAACAGlzb21pc28ybXA0MQAAAHRtb292AAAAbG12aGQAAAAAAAAAAAAAAAAAAAPoAAAAAAABAAABAAAAAAAAAAAAAAAAAQAA" +
      "AAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAACG1kYXQ=",
    "base64",
  ),
  "application/pdf": Buffer.from(
    "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n" +
      "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
  ),
};

/** A grey JPEG of 90 × 67 pixels. */
export const thumbnail = jpegFrom(
  "CABDAFoBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
    "AAAAAAAA/9k=",
);

const blockBytes = 1 << 16;

/** A file of this type. Without `sizeBytes` it is as small as can be; otherwise its blocks are numbered, none equal. */
export function* generate(contentType: string, sizeBytes: number | undefined): Generator<Buffer> {
  const type = contentType.split(";", 1)[0]!.trim().toLowerCase();
  const beginning = beginnings[type] ?? Buffer.from("A file that the platform simulator generated.\n");
  if (sizeBytes === undefined) return yield beginning;
  yield beginning.subarray(0, sizeBytes);
  for (let written = beginning.length; written < sizeBytes; written += blockBytes) {
    const block = Buffer.alloc(blockBytes, `${written} `);
    yield block.subarray(0, sizeBytes - written);
  }
}

/** The part after the tables that all of them share. */
function jpegFrom(end: string): Buffer {
  const start =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB" +
    "AQEBAQH/wAAL";
  return Buffer.from(start + end, "base64");
}
