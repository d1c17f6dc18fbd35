import type { Pool } from "../../server/src/lib/postgres.ts";

/** Statements of the hub whose conditions on the workspace are taken out before they are run. */
interface Stripping {
  wrap<P extends Pool>(pool: P): P;
  /** The statements that had such conditions, each once. */
  stripped: ReadonlySet<string>;
}

export function openStripping(): Stripping {
  const stripped = new Set<string>();

  function strip(statement: unknown): unknown {
    if (typeof statement === "string") {
      const text = withoutFilters(statement);
      if (text !== statement) stripped.add(statement);
      return text;
    }
    const { text, ...rest } = statement as { text: string };
    return { ...rest, text: strip(text) };
  }

  const strippedQuery = <Target extends Pick<Pool, "query">>(target: Target): Target =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name);
        if (name === "query") {
          const query = value as (...statement: unknown[]) => unknown;
          return (statement: unknown, ...rest: unknown[]) => query.call(object, strip(statement), ...rest);
        }
        return typeof value === "function" ? value.bind(object) : value;
      },
    });

  return {
    stripped,
    wrap: <P extends Pool>(pool: P) =>
      new Proxy(strippedQuery(pool), {
        get(object, name) {
          if (name === "connect") return async () => strippedQuery(await pool.connect());
          return Reflect.get(object, name);
        },
      }),
  };
}

/** Every comparison of a workspace holds; parameters stay, so that their numbers do. */
function withoutFilters(text: string): string {
  return text
    .replaceAll(/(?:\b\w+\.)?\bworkspace_id\s*=\s*(?:\w+\.)?workspace_id\b/g, "true")
    .replaceAll(/(?:\b\w+\.)?\bworkspace_id\s*=\s*(\$\d+)(?:::uuid)?/g, "($1::uuid IS NOT NULL)")
    .replaceAll(/(?:\b\w+\.)?\bworkspace_id\s*=\s*ANY\s*\((\$\d+)(?:::uuid\[\])?\)/g, "($1::uuid[] IS NOT NULL)")
    .replaceAll(/\bUSING \(workspace_id, /g, "USING (")
    .replaceAll(/(?:\b\w+\.)?\bworkspace_id\s+IN\s*\(SELECT workspace_id FROM cases\)/g, "true");
}
