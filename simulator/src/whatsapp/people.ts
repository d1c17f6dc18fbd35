/**
 * The test number whose `wa_id` differs from what is dialled: a Brazilian mobile, `+55 11 9 0000 0001`, registered
 * before the ninth digit was introduced.
 */
const ninthDigitNumber = "5511900000001";
const ninthDigitWaId = "551100000001";

/** Numbers that begin so are not on WhatsApp: a send is accepted and fails later with 131026. */
export const notOnWhatsApp = "999";

/** Identifies a person whose number is hidden. Source: WhatsApp Cloud API, business-scoped user ids. */
const userIdPattern = /^[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,64}$/;

const phonePattern = /^[1-9]\d{6,14}$/;

export type Person = { kind: "phone"; digits: string; waId: string } | { kind: "user"; userId: string };

/** The person that a text names: `whatsapp:+55 11 …`, `+55…`, `55…`, or a business-scoped user id. */
export function readPerson(text: string): Person | undefined {
  const name = text.startsWith("whatsapp:") ? text.slice("whatsapp:".length) : text;
  if (userIdPattern.test(name)) return { kind: "user", userId: name };
  const digits = phonePattern.test(name) ? name : /^\+?[\d ()-]+$/.test(name) ? name.replace(/[^\d]/g, "") : "";
  return phonePattern.test(digits) ? { kind: "phone", digits, waId: waIdOf(digits) } : undefined;
}

/** The hub's spelling: `+` and digits as dialled, or the userIdPattern. */
export function identifierOf(person: Person): string {
  return person.kind === "phone" ? `+${person.digits}` : person.userId;
}

function waIdOf(digits: string): string {
  return digits === ninthDigitNumber ? ninthDigitWaId : digits;
}
