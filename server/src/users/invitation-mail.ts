import { type Mail, readableTime } from "../lib/mailer.ts";

export function invitationMail({ to, url, expiresAt }: { to: string; url: string; expiresAt: Date }): Mail {
  return {
    kind: "invitation",
    to,
    subject: "You are invited to Chat4All",
    text: `You are invited to Chat4All. Choose a username and a password here:

${url}

The link works once, until ${readableTime(expiresAt)}. If you did not expect it, leave it be: nothing happens without you.
`,
  };
}
