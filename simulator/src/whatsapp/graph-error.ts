import { type Answer, json } from "../calls.ts";
import type { Random } from "../random.ts";

/** Thrown to refuse a call. Source: Graph API, errors; WhatsApp Cloud API, error codes. */
export class GraphError extends Error {
  readonly status: number;
  readonly code: number;
  readonly more: { subcode?: number; details?: string; type?: string; headers?: Record<string, string> };

  /** `message` as it is on the wire, with the `(#code)` that most begin with. */
  constructor(status: number, code: number, message: string, more: GraphError["more"] = {}) {
    super(message);
    this.name = "GraphError";
    this.status = status;
    this.code = code;
    this.more = more;
  }
}

export function missing(field: string): GraphError {
  return new GraphError(400, 131008, "(#131008) Required parameter is missing", {
    details: `Parameter ${field} is missing.`,
  });
}

export function badValue(details: string): GraphError {
  return new GraphError(400, 131009, "(#131009) Parameter value is not valid", { details });
}

export function badParameter(details: string): GraphError {
  return new GraphError(400, 100, "(#100) Invalid parameter", { details });
}

export function unknownObject(method: string, id: string): GraphError {
  const verb = method.toLowerCase();
  return new GraphError(
    400,
    100,
    `Unsupported ${verb} request. Object with ID '${id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation.`,
    { subcode: 33, type: "GraphMethodException" },
  );
}

export function badToken(): GraphError {
  return new GraphError(401, 190, "Invalid OAuth access token - Cannot parse access token");
}

export function toAnswer(error: GraphError, random: Random): Answer {
  const { subcode, details, type, headers } = error.more;
  const body = {
    message: error.message,
    type: type ?? "OAuthException",
    code: error.code,
    ...(subcode === undefined ? {} : { error_subcode: subcode }),
    ...(details === undefined ? {} : { error_data: { messaging_product: "whatsapp", details } }),
    fbtrace_id: `A${random.hex(22)}`,
  };
  return json(error.status, { error: body }, headers);
}
