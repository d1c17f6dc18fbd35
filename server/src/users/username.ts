import { usernamePattern } from "../../../contract/src/users.ts";

const expression = new RegExp(usernamePattern);

export function isUsername(text: string): boolean {
  return expression.test(text);
}
