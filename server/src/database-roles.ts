/** The roles of migration 0006 as types: a function says in its signature with which rights it may run. */
import type { PoolOf } from "./lib/postgres.ts";

/** Reads and writes the rows of one workspace. */
export type RequestDb = PoolOf<"chat4all_api">;

/** Reads and writes the tables of identity, of all workspaces, before a caller is known. */
export type IdentityDb = PoolOf<"chat4all_identity">;

/** Reads and writes every row, for steps and maintenance jobs. */
export type PipelineDb = PoolOf<"chat4all_pipeline">;
