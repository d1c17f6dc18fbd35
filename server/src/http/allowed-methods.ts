/** The methods of a path, for responses with 405; looked up only when a request has no route. */
export function openAllowed() {
  const routes = new Map<string, { path: RegExp; methods: Set<string> }>();
  return {
    /** A route as Fastify names it, with `:parameters` and a `*` at its end. */
    add(url: string, method: string | string[]): void {
      const route = routes.get(url) ?? { path: toPattern(url), methods: new Set() };
      for (const each of [method].flat()) route.methods.add(each);
      routes.set(url, route);
    },
    ofLiteral(url: string): string[] | null {
      const route = routes.get(url.split("?", 1)[0]!);
      return route === undefined ? null : [...route.methods].sort();
    },
    find(url: string): string[] {
      const path = url.split("?", 1)[0]!;
      const found = [...routes.values()]
        .filter((route) => route.path.test(path))
        .flatMap(({ methods }) => [...methods]);
      return [...new Set(found)].sort();
    },
  };
}

function toPattern(url: string): RegExp {
  const escaped = url.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll(/:\w+/g, "[^/]+").replaceAll("*", ".*")}$`);
}
