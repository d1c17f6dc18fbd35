import { forbidden } from "../errors.ts";
import { type Credentials, createUser, type User, type UserDeps } from "./users.ts";
import { findFirstWorkspace } from "./workspaces.ts";

/** A stranger joins the first workspace as a member. FORBIDDEN when registration is closed; CONFLICT for a taken name. */
export async function registerUser(
  deps: UserDeps & { registration: "open" | "closed" },
  credentials: Credentials,
): Promise<User> {
  if (deps.registration === "closed") {
    throw forbidden("Registration is closed on this hub: ask an admin to make a user for you.");
  }
  const workspaceId = await findFirstWorkspace(deps.db);
  if (workspaceId === null) throw new Error("the first workspace is made before the hub listens, and is missing");
  return createUser(deps, { ...credentials, workspaceId, role: "member" });
}
