import { RequestError } from "../errors.ts";
import type { FileRow } from "./file-rows.ts";

/** CONFLICT that says what to wait for; null for a completed file. */
export function notCompleted({ status, error }: Pick<FileRow, "status" | "error">): RequestError | null {
  if (status === "completed") return null;
  return new RequestError("CONFLICT", reasonOf(status, error), { details: { status } });
}

function reasonOf(status: Exclude<FileRow["status"], "completed">, error: FileRow["error"]): string {
  switch (status) {
    case "uploading":
      return "This file is still being uploaded: complete the upload first.";
    case "receiving":
      return "This file is still being received: wait for the event file.completed.";
    case "scanning":
      return "This file is still being scanned: wait for the event file.completed.";
    case "rejected":
      return `This file was rejected. ${error?.message ?? ""}`.trimEnd();
    case "deleted":
      return "This file was deleted.";
    default:
      return status satisfies never;
  }
}
