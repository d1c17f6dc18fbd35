import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { App } from "../http/app.ts";

/**
 * `/accept-invitation` and `/reset-password`: the targets of emailed links. Two plain forms, until the hub has pages of
 * its own.
 */
export function logInPageRoutes(app: App): void {
  const script = readFileSync(new URL("log-in-page.js", import.meta.url), "utf8");
  const hidden = { config: { access: "public" } } as const;
  app.get("/log-in-page.js", hidden, (_request, reply) => reply.type("text/javascript; charset=utf-8").send(script));
  for (const page of pages) {
    const html = htmlOf(page);
    app.get(page.path, hidden, (_request, reply) =>
      reply.type("text/html; charset=utf-8").header("content-security-policy", policy).send(html),
    );
  }
}

interface Page {
  path: string;
  title: string;
  /** Relative, so that a hub behind a path works too. */
  endpoint: string;
  inputs: string;
  button: string;
  done: string;
}

const newPassword = `autocomplete="new-password" type="password" minlength="8" maxlength="256" required`;

const pages: Page[] = [
  {
    path: "/accept-invitation",
    title: "You are invited",
    endpoint: "auth/invitations/accept",
    inputs: `<label>Username <input name="username" autocomplete="username" minlength="3" maxlength="50" required></label>
<label>Your name <input name="display_name" autocomplete="name" maxlength="200"></label>
<label>Password <input name="password" ${newPassword}></label>`,
    button: "Make my account",
    done: "Your account is made. You can log in now.",
  },
  {
    path: "/reset-password",
    title: "Choose a new password",
    endpoint: "auth/password/reset",
    inputs: `<label>New password <input name="new_password" ${newPassword}></label>`,
    button: "Set the password",
    done: "Your new password is set. You can log in with it now.",
  },
];

const style = `body { font: 1rem/1.5 system-ui, sans-serif; margin: 10vh auto; max-width: 22rem; padding: 0 1rem; }
label { display: block; margin: 1rem 0; }
input { box-sizing: border-box; display: block; font: inherit; padding: 0.4rem; width: 100%; }
button { font: inherit; padding: 0.4rem 1rem; }`;

const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "script-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

function htmlOf({ title, endpoint, inputs, button, done }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title} – Chat4All</title>
<style>${style}</style>
</head>
<body>
<h1>${title}</h1>
<form data-endpoint="${endpoint}" data-done="${done}">
${inputs}
<button>${button}</button>
</form>
<p role="status"></p>
<script src="log-in-page.js"></script>
</body>
</html>
`;
}
