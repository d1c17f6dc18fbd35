import { Type } from "typebox";
import { line, nullable } from "../../../contract/src/schemas.ts";

export { errorAnswers } from "../http/errors.ts";
export { line, nullable };

export const bearer = [{ bearer: [] }];

/** Answered with 204. */
export const nothing = Type.Null({ description: "Done; no body." });

export const uuid = Type.String({
  pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
  description: "A UUID",
});

export const idParams = Type.Object({ id: uuid });

export const time = Type.String({ format: "date-time" });
