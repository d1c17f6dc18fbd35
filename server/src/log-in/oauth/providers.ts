import type { Clock } from "../../lib/clock.ts";
import type { HttpClient } from "../../lib/http.ts";
import type { LogInProvider, ProviderConfig } from "./provider.ts";

/** By name, in the order of the configuration. Makes no request to a provider. */
export async function openProviders(
  configs: readonly ProviderConfig[],
  deps: { http: HttpClient; clock: Clock },
): Promise<ReadonlyMap<string, LogInProvider>> {
  if (configs.length === 0) return new Map();
  // Loads the client library, which a hub without providers does not need.
  const [{ openOidcProvider }, { openGithubProvider }] = await Promise.all([
    import("./oidc-provider.ts"),
    import("./github-provider.ts"),
  ]);
  const open = { oidc: openOidcProvider, github: openGithubProvider };
  return new Map(configs.map((config) => [config.name, open[config.kind](config, deps)]));
}
