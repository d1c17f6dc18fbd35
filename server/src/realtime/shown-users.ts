/** Users whose presence is told to those who see all of a workspace, at the most. */
const maxShown = 100;

export interface Shown {
  /** Who is shown now. */
  users: readonly string[];
  /** Since the last time. */
  came: readonly string[];
  left: readonly string[];
}

/**
 * Whose presence agents and admins are told of: of everybody who is online, as long as these are few, and of the first
 * hundred otherwise. Telling each of ten thousand people of each other would cost a hundred million frames.
 */
export function openShownUsers() {
  const shownOf = new Map<string, Set<string>>();
  return {
    /** Takes everybody who is online in a workspace now: whoever is not leaves, and others take the free places. */
    update(workspaceId: string, online: readonly string[]): Shown {
      const shown = shownOf.get(workspaceId) ?? new Set<string>();
      const present = new Set(online);
      const left = [...shown].filter((userId) => !present.has(userId));
      for (const userId of left) shown.delete(userId);
      const came = online.filter((userId) => !shown.has(userId)).slice(0, maxShown - shown.size);
      for (const userId of came) shown.add(userId);
      if (shown.size > 0) shownOf.set(workspaceId, shown);
      else shownOf.delete(workspaceId);
      return { users: [...shown], came, left };
    },
  };
}
