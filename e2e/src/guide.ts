import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { patient } from "../../server/src/testing/patience.ts";
import { programPath } from "../../server/src/testing/programs.ts";
import { runShell } from "./shell.ts";

/** A fenced block of a page. */
export interface Block {
  line: number;
  /** The language behind the fence; empty when there is none. */
  language: string;
  text: string;
  /** Its first line names it. */
  name: string;
  /** The file in which you save it: a code span at the end of the line before. */
  file: string | null;
}

export function readBlocks(page: string): Block[] {
  const lines = page.split("\n");
  const blocks: Block[] = [];
  for (let start = lines.findIndex(isFence); start !== -1; ) {
    const end = lines.findIndex((line, index) => index > start && isFence(line));
    if (end === -1) throw new Error(`The block of line ${start + 1} has no end.`);
    const before = lines.slice(0, start).findLast((line) => line.trim() !== "") ?? "";
    const indent = lines[start]!.indexOf("`");
    const text = lines.slice(start + 1, end).map((line) => line.slice(indent));
    blocks.push({
      line: start + 1,
      language: lines[start]!.trim().slice(3),
      text: text.join("\n"),
      name: text[0] ?? "",
      file: /`([\w./-]+\.\w+)`:?$/.exec(before)?.[1] ?? null,
    });
    start = lines.findIndex((line, index) => index > end && isFence(line));
  }
  return blocks;
}

/** How much of the output of a failing block is shown, in characters. */
const keptOutput = 8_000;

const isFence = (line: string) => /^\s*```/.test(line);

/**
 * A command that you leave open and end when it has printed enough. Both fields are extended regular expressions.
 */
export interface OpenCommand {
  /** Its output when the guide continues. */
  ready: string;
  shows: string;
}

interface GuideRun {
  blocks: readonly Block[];
  folder: string;
  env: Record<string, string>;
  /** By the first line of their block. */
  open?: Readonly<Record<string, OpenCommand>>;
  /** Responds when the hub has nothing under way: `sleep` waits for it. */
  settledUrl?: string;
  limitMs?: number;
}

/** Runs the blocks of a guide in order in one shell, and returns the problems; empty when it works as printed. */
export async function runGuide({ blocks, folder, env, open = {}, ...run }: GuideRun): Promise<string[]> {
  for (const { file, text } of blocks) {
    if (file === null) continue;
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), `${text}\n`);
  }
  const commands = blocks.filter(({ language }) => language === "sh");
  const openOf = ({ name }: Block) => open[Object.keys(open).find((start) => name.startsWith(start)) ?? ""];
  const parts = commands.map((block, index) => {
    const command = openOf(block);
    if (command !== undefined) return openPart(block, command);
    // A deleted thing has no output.
    const opened = block.text.includes("-X DELETE") ? commands.slice(0, index) : [];
    return [...opened.map((before) => shownPart(before, openOf(before))), shortPart(block)].join("\n");
  });
  const closing = commands.map((block) => {
    const command = openOf(block);
    return command === undefined ? "" : closingPart(block, command);
  });
  const script = [prelude, ...parts, ...closing].join("\n");
  const { settledUrl, ...limits } = run;
  const programs: Record<string, string> = {};
  if (settledUrl !== undefined) programs.sleep = `exec ${programPath("curl")} -s --fail-with-body ${settledUrl}`;
  const { code, output, requests } = await runShell(script, folder, { env, programs, ...limits });

  const problems = requests
    .filter(({ status }) => status < 200 || status > 299)
    .map(({ block, status, args }) => `line ${block}: ${status || "no response"} to curl ${args}`);
  if (code !== 0) problems.push(`the shell ended with ${code}`);
  const said = Map.groupBy(output.split(/^(?=::block )/m), (part) => Number(/^::block (\d+)/.exec(part)?.[1]));
  for (const { line } of commands) {
    const part = (said.get(line) ?? []).join("\n");
    if (part === "") problems.push(`line ${line}: was not run`);
    for (const [, problem] of part.matchAll(/^::failed (.*)$/gm)) {
      problems.push(`line ${line}: ${problem}, after ${part.slice(-keptOutput)}`);
    }
  }
  for (const { line, text, printedBy } of shownOutputs(blocks)) {
    const printed = printedBy.flatMap((command) => said.get(command) ?? []).join("\n");
    for (const shown of pairsIn(text)) {
      if (!printed.includes(shown)) problems.push(`line ${line}: shows ${shown}, and what was printed is ${printed}`);
    }
  }
  return problems;
}

/** The JSON blocks that a guide shows as the output of the commands before them. */
function shownOutputs(blocks: readonly Block[]): { line: number; text: string; printedBy: number[] }[] {
  return blocks.flatMap(({ line, language, text, file }, index) => {
    if (language !== "json" || file !== null) return [];
    const first = blocks.findLastIndex((block, place) => place < index && block.language !== "sh") + 1;
    return { line, text, printedBy: blocks.slice(first, index).map((command) => command.line) };
  });
}

/** Fields whose values differ each time: they only have to be there. */
const changing = /(^|_)(ids?|at|cursor|timestamp|hash|seq|position|from|count)$/;

/** The `"key":value` pairs that a guide shows; a shortened value (…) up to there. */
function pairsIn(json: string): string[] {
  return [...json.matchAll(/"(\w+)": ?("[^"]*"|true|false|null)?/g)].map(([, key, value = ""]) =>
    changing.test(key!) ? `"${key}":` : `"${key}":${value.split("…")[0]}`,
  );
}

const openLimitTenths = patient(20_000) / 100;

// `command -p` runs the real sleep: the one on PATH waits for the hub.
const prelude = `exec 2>&1
set -m
trap 'echo "::failed $? $BASH_COMMAND"' ERR
wait_for() {
  tries=0
  until grep -Eq "$2" "$1"; do
    tries=$((tries + 1))
    [ $tries -lt ${openLimitTenths} ] || { echo "::failed it did not show $2, but: $(cat "$1")"; return 0; }
    command -p sleep 0.1
  done
}`;

function shortPart({ line, text }: Block): string {
  const made = [...text.matchAll(/^([A-Z_]+)=\$\(/gm)].map(([, name]) => name);
  const checks = made.map(
    (name) => `case "$${name}" in ""|*[{}[:space:]]*) echo "::failed ${name} is \\"$${name}\\"" ;; esac`,
  );
  const pasted = text
    .split("\n")
    .filter((command) => command.startsWith('echo "export '))
    .map(pastedPart);
  return [`export BLOCK=${line}`, `echo "::block ${line}"`, text, `echo`, ...checks, ...pasted].join("\n");
}

const variables = "HUB KEY TOKEN AUTH JSON ENDPOINT SECRET ADMIN_PASSWORD";

/** Another terminal has only the variables that the printed line sets. */
function pastedPart(command: string): string {
  return `printed=$(${command})
unset ${variables}
eval "$printed"`;
}

function openPart({ line, text }: Block, { ready }: OpenCommand): string {
  return `export BLOCK=${line}
echo "::block ${line}"
( ${text}
) > .open-${line} 2>&1 &
open_${line}=$!
wait_for .open-${line} ${quote(ready)}`;
}

function shownPart({ line }: Block, command: OpenCommand | undefined): string {
  return command === undefined ? "" : `wait_for .open-${line} ${quote(command.shows)}`;
}

function closingPart(block: Block, command: OpenCommand): string {
  const { line } = block;
  return `echo "::block ${line}"
${shownPart(block, command)}
cat .open-${line}
kill -- "-$open_${line}"
wait "$open_${line}" || true`;
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** A folder in which commands run as in the checkout `root`, but write nothing into it. */
export function linkCheckout(root: string, folder: string): void {
  for (const name of readdirSync(root)) {
    if (name.startsWith(".") || name === "data") continue;
    symlinkSync(join(root, name), join(folder, name));
  }
}

export const readPage = (root: string, path: string): string => readFileSync(join(root, path), "utf8");
