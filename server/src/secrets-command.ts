import { openCommandDatabase } from "./command-database.ts";
import type { Config } from "./config.ts";
import { type Log, openPool, type Pool, withSettings } from "./lib/postgres.ts";
import { one } from "./lib/query.ts";
import { reseal } from "./lib/reseal.ts";
import { openSecretBox } from "./lib/secret-box.ts";
import { dropOldEncryptionKeys, readOrCreateSecrets, rotateSecrets } from "./lib/secrets-file.ts";
import { StartError } from "./lib/start-error.ts";
import { sealedColumns } from "./sealed-columns.ts";
import { chooseSecrets } from "./secrets.ts";

export const secretsUsage = `Usage: npm start -- secrets rotate | reseal

  rotate   put new secrets before those in DATA_DIR/secrets.json; they count from the hub's next start
  reseal   encrypt anew what an older ENCRYPTION_KEY has encrypted, and forget that key where the hub made it

docs/guides/rotate-secrets.md says when to do what.
`;

/**
 * `npm start -- secrets …`. Prints what was done; resolves with the exit code. Throws a `StartError` for what the operator
 * can mend.
 */
export async function runSecretsCommand(
  config: Pick<Config, "database" | "dataDir" | "secrets">,
  args: readonly string[],
  print: (line: string) => void,
): Promise<number> {
  const [command, ...rest] = args;
  if (rest.length > 0) throw new StartError(secretsUsage);
  if (command === "rotate") return rotate(config, print);
  if (command === "reseal") return resealAll(config, print);
  throw new StartError(secretsUsage);
}

function rotate(
  { dataDir, ...config }: Pick<Config, "database" | "dataDir" | "secrets">,
  print: (line: string) => void,
) {
  const given = namesOfGiven(config);
  if (given.length > 0) {
    throw new StartError(
      `${given.join(" and ")} ${given.length === 1 ? "comes" : "come"} from the configuration: put the new one in front ` +
        "there, with a comma behind it. See docs/guides/rotate-secrets.md.",
    );
  }
  rotateSecrets(dataDir);
  print(
    "New secrets stand in front. Start the hub anew: it signs and encrypts with them, and believes the ones before.",
  );
  print("Then run `npm start -- secrets reseal`, with the hub stopped, to be rid of the old encryption key.");
  return 0;
}

async function resealAll(config: Pick<Config, "database" | "dataDir" | "secrets">, print: (line: string) => void) {
  const isGenerated = config.database.url === null && config.secrets.encryptionKeys === null;
  await using database = await openCommandDatabase(config);
  const generated = config.database.url === null ? readOrCreateSecrets(config.dataDir) : null;
  const box = openSecretBox(chooseSecrets(config.secrets, generated).encryptionKeys);
  const url = withSettings(database.url, ["role=chat4all_pipeline"]);
  const pool = openPool({ url, size: 1, applicationName: "chat4all secrets", log: quiet });
  try {
    if (database.isShared) await refuseBesideHub(pool);
    const results = await reseal(pool, box, sealedColumns);
    for (const { table, column, resealed, failed } of results.filter((result) => result.resealed + result.failed > 0)) {
      print(`${table}.${column}: ${resealed} encrypted anew${failed > 0 ? `, ${failed} CANNOT BE OPENED` : ""}`);
    }
    if (results.some(({ failed }) => failed > 0)) {
      print(
        "What cannot be opened was encrypted with a key that is not given here: keep the old keys, and add that one.",
      );
      return 1;
    }
  } finally {
    await pool.end();
  }
  if (!isGenerated)
    print("Everything is encrypted with the newest key: those behind it can be taken out of ENCRYPTION_KEY.");
  else print(`Everything is encrypted with the newest key; ${dropOldEncryptionKeys(config.dataDir)} older forgotten.`);
  return 0;
}

/** A hub that holds only the old key could not open what is sealed with the new one, and would send nothing. */
async function refuseBesideHub(db: Pool): Promise<void> {
  const hubs = await one<{ count: number }>(
    db,
    `SELECT count(*) AS count FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'chat4all bus'`,
  );
  if (hubs.count === 0) return;
  throw new StartError(
    "A hub is at work on this database, and may not hold the newest key: stop every hub on it and run this again.",
  );
}

function namesOfGiven({ database, secrets }: Pick<Config, "database" | "secrets">): string[] {
  if (database.url !== null) return ["what the hub signs and encrypts with"];
  const given = {
    JWT_SECRET: secrets.jwt,
    JWT_PRIVATE_KEY: secrets.jwtPrivateKeys,
    ENCRYPTION_KEY: secrets.encryptionKeys,
  };
  return Object.entries(given).flatMap(([name, value]) => (value === null ? [] : [name]));
}

const quiet: Log = { info() {}, warn() {}, error() {} };
