import { type Mail, readableTime } from "../lib/mailer.ts";

export function passwordResetMail({ to, url, expiresAt }: { to: string; url: string; expiresAt: Date }): Mail {
  return {
    kind: "password reset",
    to,
    subject: "Choose a new password for Chat4All",
    text: `Somebody, hopefully you, asked for a new password for your account. Choose it here:

${url}

The link works once, until ${readableTime(expiresAt)}. If it was not you, leave it be: your password stays as it is.
`,
  };
}
