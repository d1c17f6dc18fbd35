import { type Origin, recordAuditEvent } from "../audit/audit.ts";
import type { IdentityDb } from "../database-roles.ts";
import { forbidden } from "../errors.ts";
import { transaction } from "../lib/postgres.ts";
import { addUser, findFirstWorkspace, type User, type UserDeps, type UserWithPassword } from "../users/users.ts";

/** Anyone joins the first workspace as a member. FORBIDDEN when registration is closed; CONFLICT for a taken name. */
export async function registerUser(
  deps: Omit<UserDeps, "db"> & { db: IdentityDb; registration: "open" | "invite" | "closed" },
  origin: Origin,
  credentials: UserWithPassword,
): Promise<User> {
  if (deps.registration !== "open") {
    throw forbidden("Registration is closed on this hub: ask an admin for an invitation.");
  }
  const workspaceId = await findFirstWorkspace(deps.db);
  if (workspaceId === null) throw new Error("the first workspace is missing: it is created before the hub listens");
  const passwordHash = await deps.hasher.hash(credentials.password, { origin, account: credentials.username });
  return transaction(deps.db, async (tx) => {
    const input = { ...credentials, passwordHash, workspaceId, role: "member" } as const;
    const user = await addUser({ db: tx, clock: deps.clock }, input);
    const target = { type: "user", id: user.user_id };
    await recordAuditEvent(tx, { kind: "anonymous", workspaceId, origin }, { action: "user.registered", target });
    return user;
  });
}
