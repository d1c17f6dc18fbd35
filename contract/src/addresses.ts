import { Type } from "typebox";
import { Contact } from "./contacts.ts";
import { operations } from "./operation.ts";
import { addressText } from "./people.ts";
import { closed, named, time, uuid } from "./schemas.ts";

const NewAddress = named("NewAddress", Type.Object({ address: addressText }, closed), {
  address: "whatsapp:+5511999991111",
});

const params = Type.Object({ id: uuid, address: addressText });

const pending = "Deliveries that are on their way to the address continue.";

export const contactAddresses = operations("Contacts", {
  addContactAddress: {
    method: "POST",
    path: "/v1/contacts/{id}/addresses",
    summary: "Add an address to a contact",
    description: "409 names the participant that has the address, as `details.participant_id`.",
    access: { role: "agent", scope: "contacts:write" },
    idempotent: true,
    body: NewAddress,
    answers: { 201: Contact },
    errors: [409],
  },
  removeContactAddress: {
    method: "DELETE",
    path: "/v1/contacts/{id}/addresses/{address}",
    summary: "Remove an address from a contact",
    description: pending,
    access: { role: "agent", scope: "contacts:write" },
    params,
    answers: { 204: null },
  },
});

const UserAddresses = named(
  "UserAddresses",
  Type.Object({ user_id: uuid, display_name: Type.String(), addresses: Type.Array(Type.String()) }),
);

const AddressVerification = named(
  "AddressVerification",
  Type.Object({ verification_id: uuid, expires_at: time, help: Type.String() }),
);

const VerificationCode = named(
  "VerificationCode",
  Type.Object(
    { verification_id: uuid, code: Type.String({ pattern: "^[0-9]{6}$", description: "Six digits." }) },
    closed,
  ),
  { verification_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c", code: "123456" },
);

const access = { role: "member", scope: "users:write" } as const;

export const userAddresses = operations("Users", {
  addUserAddress: {
    method: "POST",
    path: "/v1/users/{id}/addresses",
    summary: "Add an address to a user",
    description:
      "- An admin adds the address at once: 201, or 409 with the participant that has it.\n" +
      "- Users prove their own addresses: 202, and the hub sends the address a one-time code, which is valid for 10 minutes " +
      "and 5 tries. The response is the same whether the platform accepts the code or not; `help` says what to do when none " +
      "arrives. A user and an address may each have 3 open verifications, and start 5 an hour.\n\n" +
      "422 when no account of the channel is connected.",
    access,
    idempotent: true,
    shows: ["expires_at", "help"],
    body: NewAddress,
    answers: { 201: UserAddresses, 202: AddressVerification },
    errors: [409, 422],
  },
  verifyUserAddress: {
    method: "POST",
    path: "/v1/users/{id}/addresses/verify",
    summary: "Verify an address with the code that was sent to it",
    description:
      "For the caller's own user. 409, which does not name the owner, when the address belongs to another user, or to a " +
      "contact that another user has written to or that is in a conversation with others. Then ask an admin to add it.",
    access,
    body: VerificationCode,
    answers: { 200: UserAddresses },
    errors: [409],
  },
  removeUserAddress: {
    method: "DELETE",
    path: "/v1/users/{id}/addresses/{address}",
    summary: "Remove an address from a user",
    description: pending,
    access,
    params,
    answers: { 204: null },
  },
});
