/** Failures in a row that open it: a platform that fails half of the time still delivers. */
export const breakerThreshold = 10;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;
/** The wait of other attempts during a probe. */
const probeWaitMs = 250;

/**
 * The circuit breaker of a channel account. It opens after several platform failures in a row, admits one probe after
 * its pause (half-open), and closes when the probe succeeds. Each failed probe doubles the pause.
 */
export function openBreaker() {
  let failures = 0;
  let pauseMs = firstPauseMs;
  let openUntil: number | null = null;
  let isProbing = false;
  let lastGoodStart = Number.NEGATIVE_INFINITY;
  return {
    state(now: number): "closed" | "open" | "half_open" {
      return openUntil === null ? "closed" : now < openUntil ? "open" : "half_open";
    },
    /** 0 admits an attempt, and counts it as the probe when half-open; otherwise milliseconds to wait. */
    admit(now: number): number {
      if (openUntil === null) return 0;
      if (now < openUntil) return openUntil - now;
      if (isProbing) return probeWaitMs;
      isProbing = true;
      return 0;
    },
    succeeded(startedAt = Number.NEGATIVE_INFINITY) {
      lastGoodStart = Math.max(lastGoodStart, startedAt);
      failures = 0;
      pauseMs = firstPauseMs;
      openUntil = null;
      isProbing = false;
    },
    /** An attempt that started before the end of the pause, or before a success, does not count: timeouts end late. */
    failed(now: number, startedAt = now) {
      if (startedAt <= lastGoodStart || (openUntil !== null && startedAt < openUntil)) return;
      failures += 1;
      if (openUntil === null && failures < breakerThreshold) return;
      if (openUntil !== null && isProbing) pauseMs = Math.min(longestPauseMs, pauseMs * 2);
      isProbing = false;
      openUntil = now + pauseMs;
    },
    /** The attempt says nothing about the platform. */
    abandoned() {
      isProbing = false;
    },
  };
}
