import type { Archive } from "../archive.ts";
import { readXml } from "../xml.ts";

/** The title in the part with the document's metadata, if it has one. */
export async function readTitle(archive: Archive, part: string | undefined): Promise<string | undefined> {
  if (part === undefined || !archive.has(part)) return undefined;
  let title = "";
  let isTitle = false;
  await readXml(archive.read(part), {
    open: (name) => {
      isTitle = name === "title";
    },
    close: () => {
      isTitle = false;
    },
    text: (text) => {
      if (isTitle) title += text;
    },
  });
  return title.trim() || undefined;
}
