import { createHash } from "node:crypto";

const style = `body { font: 1rem/1.5 system-ui, sans-serif; margin: 10vh auto; max-width: 22rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
label { display: block; margin: 1rem 0; }
input { box-sizing: border-box; display: block; font: inherit; padding: 0.4rem; width: 100%; }
button { font: inherit; padding: 0.4rem 1rem; }
.button { background: #1a5fb4; border-radius: 0.4rem; color: #fff; display: inline-block; padding: 0.6rem 1.4rem; text-decoration: none; }`;

/** For pages of `plainPage`: nothing from other hosts, and no script but the hub's own. */
export const plainPagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "script-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** A page without more than it needs. `body` is HTML, `title` is not. */
export function plainPage(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<title>${escapeHtml(title)} – Chat4All</title>
<style>${style}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${body}
</body>
</html>
`;
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}
