/** Login by password and second factor or through a provider, registration, and changing and resetting passwords. */
export { changePassword } from "./change-password.ts";
export { ensureFirstAdmin, type FirstAdmin } from "./first-admin.ts";
export { deleteLogInMethods } from "./log-in-methods.ts";
export { deleteOldTries, type LogInTries, openLogInTries } from "./log-in-tries.ts";
export { beginLogIn, deleteOldUsedValues, exchangeCode, finishLogIn, type OauthDeps } from "./oauth/oauth.ts";
export { logInCodeTtlMs, oauthStateTtlMs } from "./oauth/oauth-state.ts";
export type { LogInProvider, ProviderConfig } from "./oauth/provider.ts";
export { openProviders } from "./oauth/providers.ts";
export { hashingThreads, openPasswordHasher, type PasswordHasher, passwordLine } from "./password.ts";
export { type LogInDeps, logIn } from "./password-log-in.ts";
export { deleteOldPasswordResets } from "./password-reset-rows.ts";
export {
  openPasswordResetRequests,
  type RequestPasswordReset,
  resetPassword,
  resetPasswordByCommand,
  resetPasswordOf,
} from "./password-resets.ts";
export { registerUser } from "./registration.ts";
export {
  beginTotp,
  confirmTotp,
  endTotp,
  removeTotp,
  requireSecondFactor,
  sealedTotpSecrets,
  type TotpDeps,
} from "./totp/totp.ts";
