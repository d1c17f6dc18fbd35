import { describeConfig, formatConfig } from "../config/config.ts";
import { refuseArguments } from "./arguments.ts";
import type { Command } from "./command.ts";

const usage = `Usage: npm start -- config

  Prints every configuration key with its meaning, its default and its current value; secrets show as [secret].
  The output is a valid .env file: what is secret or not set is a comment.
`;

export const configCommand: Command = {
  usage,
  actions: {
    "": {
      mayRunBesideHub: true,
      async run({ config, args, print }) {
        refuseArguments(args, usage);
        print(formatConfig(describeConfig(config)));
        return 0;
      },
    },
  },
};
