/** Who is calling: access tokens, API keys, the sessions behind them, and what a caller may do. */

export {
  type ApiKey,
  createApiKey,
  findApiKey,
  listApiKeys,
  maxKeyChain,
  revokeApiKey,
  revokeApiKeysOf,
} from "./api-keys.ts";
export { type Authenticator, openAuthenticator } from "./authenticate.ts";
export { allTime, type Creator, type Ended, type Ending, endAccess, lockCreator } from "./end-access.ts";
export {
  anyAgent,
  anyMember,
  dependsOn,
  type Forget,
  hasRole,
  hasScope,
  type KeyRateLimit,
  keyLimitsOf,
  noOrigin,
  type Principal,
  reachesContacts,
  requireMayManageRole,
  requireRole,
  requireScope,
  type Scoped,
  seesAddressesOf,
  seesAllConversations,
  type Viewer,
} from "./principal.ts";
export {
  deleteOldSessions,
  logOut,
  logOutEverywhere,
  openSession,
  type RefusedReason,
  recordRefusedSession,
  refreshGraceMs,
  refreshSession,
  revokeSessionsOf,
  type SessionDeps,
  type TokenPair,
} from "./sessions.ts";
export { ed25519Keys, type JwtAlgorithm, jwtAlgorithms, type SigningKeys, sharedSecrets } from "./signing-keys.ts";
export { type AccessClaims, hashToken, invalidToken, newOpaqueToken, openTokens, type Tokens } from "./tokens.ts";
