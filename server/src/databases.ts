import type { IdentityDb, PipelineDb, RequestDb } from "./database-roles.ts";
import type { Log } from "./lib/postgres.ts";
import { openPool, withSettings } from "./lib/postgres.ts";
import { openScopes } from "./lib/scoped-pool.ts";

/** The hub's pools; each has a role of migration 0006, which defines what it sees. */
export interface Databases extends AsyncDisposable {
  /** For requests: the rows of one workspace. */
  dbOf(workspaceId: string): RequestDb;
  /** For authentication: the tables of identity, of all workspaces. */
  identityDb: IdentityDb;
  /**
   * For steps and maintenance jobs: every row, always read by index.
   */
  pipelineDb: PipelineDb;
  /** For accepting: planned like the pipeline's statements, sees one workspace. */
  acceptDbOf(workspaceId: string): RequestDb;
}

interface DatabasesOptions {
  url: string;
  /** Connections for requests, and as many for the pipeline. */
  size: number;
  log: Log;
}

/** Connections of the pools for identity and for accepting, each. */
const smallPoolSize = 4;

/** The most connections that a process opens: these pools, four of the bus, two of the fan-out, and a lock. */
export function connectionsOf({ size }: Pick<DatabasesOptions, "size">): number {
  return 2 * size + 2 * smallPoolSize + 7;
}

/** Opens no connection yet. The schema must be there before the first is used. */
export function openDatabases({ url, size, log }: DatabasesOptions): Databases {
  const open = <Role extends string>(role: Role, name: string, poolSize: number, settings: readonly string[] = []) =>
    openPool<Role>({
      url: withSettings(url, [`role=${role}`, ...settings]),
      size: poolSize,
      applicationName: name,
      log,
    });
  const pools = {
    api: open("chat4all_api", "chat4all", size),
    identity: open("chat4all_identity", "chat4all identity", smallPoolSize),
    pipeline: open("chat4all_pipeline", "chat4all pipeline", size, lookUps),
    accept: open("chat4all_api", "chat4all accept", smallPoolSize, lookUps),
  };
  return {
    dbOf: openScopes(pools.api, scope),
    identityDb: pools.identity,
    pipelineDb: pools.pipeline,
    acceptDbOf: openScopes(pools.accept, scope),
    async [Symbol.asyncDispose]() {
      await Promise.all(Object.values(pools).map((pool) => pool.end()));
    },
  };
}

/** For connections outside of these pools: the bus, and the fan-out. */
export function pipelineUrl(url: string): string {
  return withSettings(url, ["role=chat4all_pipeline"]);
}

/** Read by the policies of migration 0006. */
const scope = "chat4all.workspace_id";

/**
 * The pipeline's statements read single rows by index, and are planned once. By default the planner scans whole
 * tables while they are small, and keeps those plans once the tables are large. Where the policies name the workspace, it
 * would read all rows of the workspace once and keep them in memory (`enable_material`).
 */
export const lookUps = [
  "enable_seqscan=off",
  "enable_hashjoin=off",
  "enable_mergejoin=off",
  "enable_material=off",
  "plan_cache_mode=force_generic_plan",
];
