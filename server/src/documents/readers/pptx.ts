import type { Archive } from "../archive.ts";
import type { Source } from "../reader.ts";
import { shortTitle } from "../text-output.ts";
import { attribute, readXml } from "../xml.ts";
import { readRelations } from "./relations.ts";

/** The slides in their order. Returns the title of the first slide that has one. */
export async function readPptx(archive: Archive, main: string, source: Source): Promise<string | undefined> {
  const targets = new Map((await readRelations(archive, main)).map(({ id, target }) => [id, target]));
  const slides: string[] = [];
  await readXml(archive.read(main), {
    open(name, attributes) {
      const target = name === "sldId" ? targets.get(attribute(attributes, "id") ?? "") : undefined;
      if (target !== undefined) slides.push(target);
    },
  });
  for (const [index, slide] of slides.entries()) {
    source.progress.set(index, slides.length);
    await readSlide(archive, slide, source);
  }
  return source.output.marks.find(({ title }) => title !== undefined)?.title;
}

async function readSlide(archive: Archive, slide: string, { output }: Source): Promise<void> {
  const mark = output.mark("slide");
  let isText = false;
  let isTitle = false;
  let title = "";
  let cells = 0;
  await readXml(archive.read(slide), {
    open(name, attributes) {
      if (name === "t") isText = true;
      else if (name === "ph") isTitle = /^(title|ctrTitle)$/.test(attribute(attributes, "type") ?? "");
      else if (name === "tc") cells += 1;
      else if (name === "br") output.append(cells > 0 ? " " : "\n");
    },
    close(name) {
      if (name === "t") isText = false;
      else if (name === "sp") isTitle = false;
      else if (name === "p" && cells > 0) output.separate(" ");
      else if (name === "p") output.newLine();
      else if (name === "tr") output.endLine();
      else if (name === "tc") {
        cells -= 1;
        output.separate("\t");
      }
    },
    text(text) {
      if (!isText) return;
      output.append(text);
      if (isTitle && title.length < maxTitleTextLength) title += text;
    },
  });
  const shortened = shortTitle(title);
  if (shortened !== undefined) mark.title = shortened;
}

const maxTitleTextLength = 1_000;
