import type { Db } from "../lib/query.ts";
import { deleteIdentitiesOf } from "./oauth/identity-rows.ts";
import { deleteTotp } from "./totp/totp-rows.ts";

/** Deletes linked identities, the second factor and its recovery codes. The password is in `users`. */
export async function deleteLogInMethods(tx: Db, userId: string): Promise<void> {
  await deleteIdentitiesOf(tx, userId);
  await deleteTotp(tx, userId);
}
