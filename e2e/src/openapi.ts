/** The OpenAPI document with the component in place of each reference to it. No component contains itself. */
export function withoutReferences<Document>(document: object): Document {
  const inline = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(inline);
    if (typeof value !== "object" || value === null) return value;
    const { $ref, ...rest } = value as { $ref?: string };
    const own = Object.fromEntries(Object.entries(rest).map(([name, one]) => [name, inline(one)]));
    return typeof $ref === "string" ? { ...(inline(at($ref)) as object), ...own } : own;
  };
  const at = (reference: string) =>
    reference
      .split("/")
      .slice(1)
      .reduce<unknown>((place, name) => (place as Record<string, unknown>)[name], document);
  return inline(document) as Document;
}

/** As the hub serves it. */
export async function readOpenApi<Document>(url: string): Promise<Document> {
  const answer = await fetch(`${url}/openapi.json`);
  return withoutReferences((await answer.json()) as object);
}
