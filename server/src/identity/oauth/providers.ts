import type { Clock } from "../../lib/clock.ts";
import type { HttpClient } from "../../lib/http.ts";
import { openGithubProvider } from "./github-provider.ts";
import { openOidcProvider } from "./oidc-provider.ts";
import type { LogInProvider, ProviderConfig } from "./provider.ts";

/** By name, in the order of the configuration. Asks nobody anything yet. */
export function openProviders(
  configs: readonly ProviderConfig[],
  deps: { http: HttpClient; clock: Clock },
): ReadonlyMap<string, LogInProvider> {
  const open = { oidc: openOidcProvider, github: openGithubProvider };
  return new Map(configs.map((config) => [config.name, open[config.kind](config, deps)]));
}
