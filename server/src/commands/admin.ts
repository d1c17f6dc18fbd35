import { systemClock as clock } from "../lib/clock.ts";
import { openPool, withSettings } from "../lib/postgres.ts";
import { hashingThreads, openPasswordHasher, resetPasswordByCommand } from "../log-in/log-in.ts";
import { refuseArguments } from "./arguments.ts";
import type { Command, CommandCall } from "./command.ts";
import { quiet, requireSchema } from "./database.ts";

const usage = `Usage: npm start -- admin reset-password [username] [--keep-api-keys]

  Sets a new password, prints it this once, and ends every session of the user. It also revokes the user's API keys,
  and with them the user's open invitations, password resets and webhook endpoints; --keep-api-keys keeps all of
  these. Without a username it is the admin of ADMIN_USERNAME. It works on DATABASE_URL and on the embedded database,
  whether the hub runs or not.
`;

const keepOption = "--keep-api-keys";

export const adminCommand: Command = {
  usage,
  actions: {
    // A hub reads the new password and the ended sessions from the database, as if another hub had changed them.
    "reset-password": { mayRunBesideHub: true, run: resetPassword },
  },
};

async function resetPassword({ config, args, print, openDatabase }: CommandCall): Promise<number> {
  const keepsApiKeys = args.includes(keepOption);
  const [name = config.identity.adminUsername, ...rest] = args.filter((arg) => arg !== keepOption);
  refuseArguments(name.startsWith("-") ? [name] : rest, usage);
  await using database = await openDatabase();
  const url = withSettings(database.url, ["role=chat4all_identity"]);
  const db = openPool({ url, size: 1, applicationName: "chat4all admin", log: quiet });
  try {
    await requireSchema(database, db, "unseen_passwords");
    const hasher = openPasswordHasher({ concurrency: hashingThreads() });
    const { username, password, ended } = await resetPasswordByCommand({ db, clock, hasher }, { name, keepsApiKeys });
    print(`The new password of ${username} is ${password}   (shown this once: keep it)`);
    print(
      ended.sessions === 0
        ? "The user had no session."
        : `Every session of the user has ended. A running hub notices within 30 seconds.`,
    );
    if (ended.api_keys + ended.webhook_endpoints > 0) {
      print(`Ended as well: API keys: ${ended.api_keys}, webhook endpoints: ${ended.webhook_endpoints}.`);
    }
    return 0;
  } finally {
    await db.end();
  }
}
