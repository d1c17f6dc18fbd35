/** The pages of this repository lead somewhere: their links, the files that they name, and every guide from the README. */
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");
const skippedFolders = ["node_modules", "data", ".git"];
const inRepository = (pattern: string) =>
  globSync(pattern, { cwd: root, exclude: (path) => skippedFolders.includes(basename(path)) });

const pages = inRepository("**/*.md");
const textOf = (page: string) => readFileSync(join(root, page), "utf8").replaceAll(/^ *```[\s\S]*?^ *```/gm, "");
const linksOf = (page: string) => [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);

/** The anchors of a page's headings, as GitHub makes them: `## TLS, by hand` → `tls-by-hand`. */
function anchorsOf(page: string): Set<string> {
  const headings = [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!.trim().toLowerCase());
  return new Set(headings.map((heading) => heading.replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-")));
}

test("every link of a page leads to a file, and to a heading in it", () => {
  assert.ok(pages.length > 30);
  const broken = pages.flatMap((page) =>
    linksOf(page)
      .filter((link) => !/^https?:/.test(link))
      .filter((link) => {
        const [path, anchor] = link.split("#") as [string, string | undefined];
        const target = path === "" ? page : normalize(join(dirname(page), path));
        if (!existsSync(join(root, target))) return true;
        return anchor !== undefined && !anchorsOf(target).has(anchor);
      })
      .map((link) => `${page}: ${link}`),
  );
  assert.deepEqual(broken, []);
});

test("the README links every guide", () => {
  const linked = linksOf("README.md");
  const guides = pages.filter((page) => page.startsWith("docs/guides/"));
  assert.deepEqual(
    guides.filter((guide) => !linked.includes(guide)),
    [],
  );
});

test("every source file that a page names is there", () => {
  const sources = inRepository("**/*.{ts,cjs,sql}").map((path) => `/${path}`);
  // The guide creates the files that it names, and the changelog is about earlier versions.
  const notChecked = ["docs/guides/add-a-connector.md", "CHANGELOG.md"];
  const missing = pages
    .filter((page) => !notChecked.includes(page))
    .flatMap((page) =>
      [...textOf(page).matchAll(/`([\w./-]+\.(?:ts|cjs|sql))`/g)]
        .map(([, file]) => file!)
        .filter((file) => !file.includes("NNNN") && !sources.some((path) => path.endsWith(`/${file}`)))
        .map((file) => `${page}: ${file}`),
    );
  assert.deepEqual(missing, []);
});
