import { Type } from "typebox";
import { ApiKey, KeyScope } from "./api-keys.ts";
import { operations } from "./operation.ts";
import { closed, line, named, nullable } from "./schemas.ts";
import { addressList, displayName, User } from "./users.ts";

const Me = named(
  "Me",
  Type.Object(
    {
      ...User.properties,
      preferred_model: nullable(Type.String()),
      llm_api_key_configured: Type.Boolean(),
      addresses: addressList,
      credential: Type.Object(
        {
          kind: Type.Enum(["session", "api_key"]),
          scopes: Type.Array(KeyScope, { description: "A session has all: `*`." }),
          api_key: nullable(ApiKey),
        },
        { description: "The credential of this request. `api_key` is null for a session." },
      ),
    },
    { description: "The user who sent the request, and what the credential allows." },
  ),
);

const MeChange = named(
  "MeChange",
  Type.Object(
    {
      display_name: Type.Optional(displayName),
      preferred_model: Type.Optional(nullable(line(200))),
      llm_api_key: Type.Optional(nullable(line(1000))),
    },
    closed,
  ),
  { display_name: "Bruno Lima" },
);

export const me = operations("Current user", {
  getMe: {
    method: "GET",
    path: "/v1/me",
    summary: "Get the current user and credential",
    description:
      "For an API key, the user who created it, and the scopes of the key. Needs no scope, so that you can try any key.",
    access: { role: "member" },
    answers: { 200: Me },
  },
  updateMe: {
    method: "PATCH",
    path: "/v1/me",
    summary: "Update the current user",
    description: "`llm_api_key` is stored encrypted and never shown. Null clears the key or the model.",
    access: { role: "member", scope: "users:write" },
    shows: "all",
    body: MeChange,
    answers: { 200: Me },
  },
});
