import type { Mail } from "../lib/mailer.ts";

/** The texts that people are sent. Plain text: nothing in it can be disguised. */

export function invitationMail({ to, url, expiresAt }: { to: string; url: string; expiresAt: Date }): Mail {
  return {
    kind: "invitation",
    to,
    subject: "You are invited to Chat4All",
    text: `You are invited to Chat4All. Choose a username and a password here:

${url}

The link works once, until ${readable(expiresAt)}. If you did not expect it, leave it be: nothing happens without you.
`,
  };
}

export function passwordResetMail({ to, url, expiresAt }: { to: string; url: string; expiresAt: Date }): Mail {
  return {
    kind: "password reset",
    to,
    subject: "Choose a new password for Chat4All",
    text: `Somebody, hopefully you, asked for a new password for your account. Choose it here:

${url}

The link works once, until ${readable(expiresAt)}. If it was not you, leave it be: your password stays as it is.
`,
  };
}

function readable(time: Date): string {
  return `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
