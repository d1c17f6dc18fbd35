/**
 * On every response. A response is data: as a page it can load, frame and send nothing. It is not cached, unless its route
 * says so, because most are for the caller only.
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

export const tlsHeaders: Readonly<Record<string, string>> = { "strict-transport-security": "max-age=31536000" };

/**
 * For the pages of documentation: scripts are files of the hub. Both pages write styles at run time, and Redoc creates a
 * worker for its search.
 */
export const docsPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src blob:",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
