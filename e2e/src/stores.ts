import { describe } from "node:test";
import { testsThatNeed } from "../../server/src/testing/programs.ts";
import { startTestS3 } from "../../server/src/testing/test-s3.ts";

/** Opens a store for files; returns the environment variables of a hub that keeps them there. */
type OpenStore = (opened: AsyncDisposableStack) => Promise<Record<string, string>>;

export const openS3: OpenStore = async (opened) => {
  const { endpoint, bucket, region, accessKeyId, secretAccessKey } = opened.use(await startTestS3());
  return {
    S3_ENDPOINT: endpoint,
    S3_BUCKET: bucket,
    S3_REGION: region,
    S3_ACCESS_KEY_ID: accessKeyId,
    S3_SECRET_ACCESS_KEY: secretAccessKey,
  };
};

/** The same tests with files in DATA_DIR, and in S3. */
export function overBothStores(what: string, tests: (openStore: OpenStore) => void): void {
  describe(`${what} in DATA_DIR`, () => tests(async () => ({})));
  testsThatNeed("versitygw").describe(`${what} in S3`, () => tests(openS3));
}
