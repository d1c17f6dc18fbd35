/** What a username may be: ASCII, so that no two look the same; unique in the hub, whatever the case. */
export const usernamePattern = "^[A-Za-z0-9][A-Za-z0-9._-]{2,49}$";

const expression = new RegExp(usernamePattern);

export function isUsername(text: string): boolean {
  return expression.test(text);
}
