import { RequestError } from "../errors.ts";
import { ObjectStoreError } from "../lib/object-store/object-store.ts";

/** CONFLICT when the store does not have the upload as it should be, OVERLOADED while it cannot be used. */
export async function fromStore<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    // A bug, or an error of what the store read.
    if (cause instanceof TypeError || cause instanceof RangeError || cause instanceof RequestError) throw cause;
    const code = cause instanceof ObjectStoreError ? cause.code : null;
    if (code === "upload_missing" || code === "object_missing") {
      throw new RequestError("CONFLICT", "The store does not have this upload any more: start another one.", { cause });
    }
    if (code === "part_missing") {
      throw new RequestError("CONFLICT", "A part was changed meanwhile: read the parts of the upload again.", {
        cause,
      });
    }
    const message = "The store of files cannot be used now. Nothing is lost; try again.";
    throw new RequestError("OVERLOADED", message, { retryAfterSeconds: 5, cause });
  }
}
