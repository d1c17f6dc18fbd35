import { posix } from "node:path";
import type { Archive } from "../archive.ts";
import { readXml } from "../xml.ts";

export interface Relation {
  id: string;
  /** A URL, which ends with what the target is. */
  type: string;
  /** The name of a part in the archive. */
  target: string;
}

/** The relations of a part of an OOXML document to other parts; of the document itself for `""`. */
export async function readRelations(archive: Archive, part: string): Promise<Relation[]> {
  const folder = posix.dirname(part);
  const name = posix.join(folder, "_rels", `${posix.basename(part)}.rels`);
  const relations: Relation[] = [];
  if (!archive.has(name)) return relations;
  await readXml(archive.read(name), {
    open(element, { Id = "", Type = "", Target = "", TargetMode }) {
      if (element !== "Relationship" || TargetMode === "External") return;
      const target = Target.startsWith("/") ? Target.slice(1) : posix.join(folder, Target);
      relations.push({ id: Id, type: Type, target });
    },
  });
  return relations;
}
