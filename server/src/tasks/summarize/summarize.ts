import type { Principal } from "../../credentials/credentials.ts";
import type { RequestDb } from "../../database-roles.ts";
import type { ExtractedText } from "../../documents/documents.ts";
import { findFile } from "../../files/files.ts";
import type { Clock } from "../../lib/clock.ts";
import { transaction } from "../../lib/postgres.ts";
import { maybe } from "../../lib/query.ts";
import { MissingKeyError, type SecretBox } from "../../lib/secret-box.ts";
import {
  type LanguageModel,
  type Summary,
  SummaryError,
  type SummaryStyle,
  summarize,
} from "../../summaries/summaries.ts";
import { findLlmSettings } from "../../users/users.ts";
import { createTask } from "../create-task.ts";
import { extractFile, requireDocument } from "../extract/extract.ts";
import { type FileOfTaskDeps, findFileOfTask } from "../read-file-of-task.ts";
import { type Task, TaskFailure, type TaskKind, type TaskRun, type TaskStatus, TryLater } from "../task.ts";

interface SummarizeDeps extends FileOfTaskDeps {
  box: SecretBox;
  /** Null: summaries consist of sentences of the document. */
  languageModel: LanguageModel | null;
}

interface Wanted {
  language?: string | null | undefined;
  max_words?: number | undefined;
  style?: SummaryStyle | undefined;
  model?: string | null | undefined;
}

/** As the task has and shows them. */
interface Options {
  style: SummaryStyle;
  max_words: number;
  language: string | null;
  model: string | null;
}

const kind = "summarize";
const minute = 60_000;
const usualWords = 200;
/** Before a task tries again, where the language model does not say when. */
const unavailableMs = 30_000;
/** What the extraction of the text counts for. */
const extractedPercent = 40;

/** For a file that the caller sees. Errors as those of `requestExtract`. */
export async function requestSummary(
  { clock }: { clock: Clock },
  db: RequestDb,
  principal: Principal,
  fileId: string,
  { language = null, max_words = usualWords, style = "paragraph", model = null }: Wanted,
): Promise<{ taskId: string; status: TaskStatus }> {
  requireDocument(await findFile(db, principal, fileId));
  const options: Options = { style, max_words, language, model };
  const { workspaceId, userId } = principal;
  return transaction(db, (tx) => createTask(tx, clock, { workspaceId, userId, kind, fileId, options: { ...options } }));
}

/** A summary of a file. Its result is the `DocumentSummary` of the contract. */
export function summarizeKind(deps: SummarizeDeps): TaskKind {
  return {
    kind,
    // Five for the extraction, and five for the summary.
    timeoutMs: 10 * minute,
    patienceMs: 30 * minute,
    async run({ task, signal, progress }) {
      const { text, language, percent } = await readText(deps, task, { signal, progress });
      const { model, max_words: maxWords, ...options } = task.options as unknown as Options;
      try {
        const made = await summarize(
          text,
          { ...options, maxWords },
          {
            model: await modelFor(deps, task, model),
            textLanguage: language,
            clock: deps.clock,
            signal,
            onProgress: (done) => progress(percent + ((100 - percent) * done) / 100),
          },
        );
        return show(made);
      } catch (error) {
        throw asTaskError(error);
      }
    },
  };
}

/** The text that another task has extracted from the same file, if there is one: a file does not change. */
async function readText(
  deps: SummarizeDeps,
  { fileId }: Task,
  { signal, progress }: Pick<TaskRun, "signal" | "progress">,
): Promise<Pick<ExtractedText, "text" | "language"> & { percent: number }> {
  await findFileOfTask(deps.db, fileId!);
  const known = await maybe<Pick<ExtractedText, "text" | "language">>(
    deps.db,
    `SELECT result->>'text' AS text, result->>'language' AS language FROM tasks
     WHERE file_id = $1 AND kind = 'extract' AND status = 'completed' ORDER BY finished_at DESC LIMIT 1`,
    [fileId],
  );
  if (known !== null) return { ...known, percent: 0 };
  const extracted = await extractFile(deps, fileId!, {
    signal,
    progress: (percent) => progress((extractedPercent * percent) / 100),
  });
  progress(extractedPercent);
  return { ...extracted, percent: extractedPercent };
}

async function modelFor(
  { db, box, languageModel }: SummarizeDeps,
  { workspaceId, userId }: Task,
  model: string | null,
) {
  if (languageModel === null) return null;
  const { apiKey, preferredModel } = await findLlmSettings({ db, box }, userId!);
  return languageModel.for({ workspaceId, userId: userId!, ownKey: apiKey, model: model ?? preferredModel });
}

function show({ summary, keyPoints, language, words, model, tokens, omittedCharacters }: Summary) {
  const { input, output, isEstimated: estimated } = tokens;
  return {
    ...{ summary, key_points: keyPoints, language, words, model },
    ...{ tokens: { input, output, estimated }, omitted_characters: omittedCharacters },
  };
}

function asTaskError(error: unknown): unknown {
  if (error instanceof MissingKeyError) {
    return new TryLater("OVERLOADED", "The hub cannot decrypt your key now. The task runs again.", { cause: error });
  }
  if (!(error instanceof SummaryError)) return error;
  if (error.code !== "LLM_UNAVAILABLE") return new TaskFailure(error.code, error.message, { cause: error });
  return new TryLater(error.code, error.message, { afterMs: error.retryAfterMs ?? unavailableMs, cause: error });
}
