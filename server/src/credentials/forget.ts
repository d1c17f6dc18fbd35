/** For code that changes a session, user or API key: see `Authenticator`. */
export interface Forget {
  /** Takes the id of a session, user or API key that changed, after the change was committed. */
  forget(id: string): void;
}
