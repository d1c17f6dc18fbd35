/** Uploads a made-up file, or resumes its upload, and ends. Prints the completed file. */
import { openClient } from "../../client/src/client.ts";
import { makeUpFile } from "./made-up-file.ts";

export interface UploadOrder {
  url: string;
  token: string;
  fileId: string;
  seed: string;
  size: number;
}

const { url, token, fileId, seed, size }: UploadOrder = JSON.parse(process.argv[2]!);
const { files } = openClient({ url, credential: { token } });
process.stdout.write(JSON.stringify(await files.upload(makeUpFile(seed, size), { fileId })));
