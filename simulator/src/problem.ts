export class Problem extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Problem";
    this.status = status;
    this.code = code;
  }
}

export function invalid(message: string): Problem {
  return new Problem(400, "VALIDATION_ERROR", message);
}

export function absent(message: string): Problem {
  return new Problem(404, "RESOURCE_NOT_FOUND", message);
}
