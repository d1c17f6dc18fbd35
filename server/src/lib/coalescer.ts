/** Answers questions that come one by one, many in one run. */
export interface Coalescer<Question, Answer> {
  /** Rejects with `TooManyQuestions` when the line is full, and with the error of its run. */
  ask(question: Question): Promise<Answer>;
}

export interface CoalescerOptions<Question, Answer> {
  /** Questions to a run, at the most. */
  maxBatch: number;
  /** Questions that may wait for a run. */
  maxWaiting: number;
  /** Runs at the same time: one that hangs does not hold up those behind it, while there is another. */
  maxRuns: number;
  /** One answer for each question, in their order. */
  run(questions: readonly Question[]): Promise<readonly Answer[]>;
}

export class TooManyQuestions extends Error {
  override readonly name = "TooManyQuestions";
}

/**
 * What a turn of the event loop brings shares a run; what comes while `maxRuns` are under way waits, and shares the next.
 * Every run starts after the questions that it answers were asked.
 */
export function openCoalescer<Question, Answer>(
  options: CoalescerOptions<Question, Answer>,
): Coalescer<Question, Answer> {
  const { maxBatch, maxWaiting, maxRuns, run } = options;
  let waiting: { question: Question; answered: PromiseWithResolvers<Answer> }[] = [];
  let runs = 0;
  let isStarting = false;

  function start(): void {
    isStarting = false;
    while (waiting.length > 0 && runs < maxRuns) {
      runs += 1;
      const asked = waiting.slice(0, maxBatch);
      waiting = waiting.slice(maxBatch);
      run(asked.map(({ question }) => question))
        .then(
          (answers) => {
            for (const [index, { answered }] of asked.entries()) answered.resolve(answers[index]!);
          },
          (error) => {
            for (const { answered } of asked) answered.reject(error);
          },
        )
        .finally(() => {
          runs -= 1;
          start();
        });
    }
  }

  return {
    ask(question) {
      if (waiting.length >= maxWaiting) return Promise.reject(new TooManyQuestions("too many questions wait"));
      const answered = Promise.withResolvers<Answer>();
      waiting.push({ question, answered });
      if (!isStarting && runs < maxRuns) {
        isStarting = true;
        setImmediate(start);
      }
      return answered.promise;
    },
  };
}
