/** As `global-setup.ts`, for hubs that leave every step to the bus. */
export { globalSetup, globalTeardown } from "./global-setup.ts";

process.env.FUSE = "off";
