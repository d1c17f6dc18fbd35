import { readFileSync } from "node:fs";
import type { App } from "../http/app.ts";
import { plainPage, plainPagePolicy } from "./plain-page.ts";

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
      reply.type("text/html; charset=utf-8").header("content-security-policy", plainPagePolicy).send(html),
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

function htmlOf({ title, endpoint, inputs, button, done }: Page): string {
  return plainPage(
    title,
    `<form data-endpoint="${endpoint}" data-done="${done}">
${inputs}
<button>${button}</button>
</form>
<p role="status"></p>
<script src="log-in-page.js"></script>`,
  );
}
