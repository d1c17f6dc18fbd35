import type { Config } from "../config/config.ts";
import { openPool, withSettings } from "../lib/postgres.ts";
import { reseal } from "../lib/reseal.ts";
import { openSecretBox } from "../lib/secret-box.ts";
import { dropOldEncryptionKeys, readOrCreateSecrets, rotateSecrets } from "../lib/secrets-file.ts";
import { StartError } from "../lib/start-error.ts";
import { sealedColumns } from "../sealed-columns.ts";
import { chooseSecrets } from "../secrets.ts";
import { refuseArguments } from "./arguments.ts";
import type { Command, CommandCall } from "./command.ts";
import { quiet, requireSchema } from "./database.ts";

const usage = `Usage: npm start -- secrets rotate | reseal

  rotate   put new secrets before those in DATA_DIR/secrets.json; they count from the hub's next start
  reseal   with every hub stopped: encrypt again what an older ENCRYPTION_KEY has encrypted, and forget that key where
           the hub made it

docs/guides/rotate-secrets.md says when to do what.
`;

export const secretsCommand: Command = {
  usage,
  actions: {
    // A hub reads the file only at its start, and the file keeps every key that the hub has encrypted with.
    rotate: { mayRunBesideHub: true, run: rotate },
    // A hub with only the old key could not decrypt what is encrypted with the new one.
    reseal: { mayRunBesideHub: false, run: resealAll },
  },
};

async function rotate({ config: { dataDir, ...config }, args, print }: CommandCall): Promise<number> {
  refuseArguments(args, usage);
  const given = namesOfGiven(config);
  if (given.length > 0) {
    throw new StartError(
      `${given.join(" and ")} ${given.length === 1 ? "comes" : "come"} from the configuration: put the new value in front ` +
        `of the old one there, as in ${given[0]}=<new>,<old>. ` +
        "docs/guides/rotate-secrets.md says when to remove the old one.",
    );
  }
  rotateSecrets(dataDir);
  print(
    "New secrets are first in the lists. Restart the hub: it signs and encrypts with them, and still accepts the old ones.",
  );
  print("Then run `npm start -- secrets reseal`, with the hub stopped, to remove the old encryption key.");
  return 0;
}

async function resealAll({ config, args, print, openDatabase }: CommandCall): Promise<number> {
  refuseArguments(args, usage);
  const isGenerated = config.database.url === null && config.secrets.encryptionKeys === null;
  await using database = await openDatabase();
  const generated = config.database.url === null ? readOrCreateSecrets(config.dataDir) : null;
  const { encryptionKeys } = chooseSecrets(config.secrets, generated);
  const box = openSecretBox(encryptionKeys);
  const url = withSettings(database.url, ["role=chat4all_pipeline"]);
  const pool = openPool({ url, size: 1, applicationName: "chat4all secrets", log: quiet });
  try {
    await requireSchema(database, pool, "webhook_endpoints");
    const results = await reseal(pool, box, sealedColumns);
    for (const { table, column, resealed, failed } of results.filter((result) => result.resealed + result.failed > 0)) {
      print(`${table}.${column}: ${resealed} encrypted again${failed > 0 ? `, ${failed} CANNOT BE OPENED` : ""}`);
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
  else
    print(
      `Everything is encrypted with the newest key; ${dropOldEncryptionKeys(config.dataDir, encryptionKeys[0]!.key)} older forgotten.`,
    );
  return 0;
}

function namesOfGiven({ secrets }: Pick<Config, "secrets">): string[] {
  const given = {
    JWT_SECRET: secrets.jwt,
    JWT_PRIVATE_KEY: secrets.jwtPrivateKeys,
    ENCRYPTION_KEY: secrets.encryptionKeys,
  };
  return Object.entries(given).flatMap(([name, value]) => (value === null ? [] : [name]));
}
