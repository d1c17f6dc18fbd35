export { freePort } from "../../../embedded-postgres/src/endpoint.ts";
