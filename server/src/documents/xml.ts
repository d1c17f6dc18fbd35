import { Parser } from "htmlparser2";
import { maxDepth } from "./bounds.ts";
import { DocumentError } from "./document-error.ts";

export type Attributes = Readonly<Record<string, string>>;

/** Names come without their namespace's prefix. */
export interface XmlHandler {
  open?(name: string, attributes: Attributes): void;
  close?(name: string): void;
  text?(text: string): void;
}

/**
 * Reads XML as a stream. Entities that the document defines are never expanded: a document type definition within the
 * document, which no office program writes, is DOCUMENT_CORRUPT, as is XML that ends before its elements.
 */
export async function readXml(chunks: AsyncIterable<string>, handler: XmlHandler): Promise<void> {
  let depth = 0;
  let isAtEnd = false;
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        depth += 1;
        if (depth > maxDepth) throw corrupt("A part of the document is nested too deeply.");
        handler.open?.(localName(name), attributes);
      },
      onclosetag(name) {
        if (isAtEnd) throw corrupt("A part of the document is incomplete.");
        depth -= 1;
        handler.close?.(localName(name));
      },
      ontext: (text) => handler.text?.(text),
      onprocessinginstruction(name, content) {
        // Old programs name a type definition, which is not read; one that is part of the document begins with a bracket.
        if (/^!doctype/i.test(name) && content.includes("["))
          throw corrupt("The document defines XML entities, which no office program writes.");
      },
    },
    { xmlMode: true },
  );
  for await (const chunk of chunks) parser.write(chunk);
  isAtEnd = true;
  parser.end();
}

/** The attribute with this name, whichever prefix it has; one with a prefix before one without. */
export function attribute(attributes: Attributes, name: string): string | undefined {
  const key = Object.keys(attributes).find((candidate) => candidate.endsWith(`:${name}`));
  return attributes[key ?? name];
}

function localName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

function corrupt(message: string): DocumentError {
  return new DocumentError("DOCUMENT_CORRUPT", message);
}
