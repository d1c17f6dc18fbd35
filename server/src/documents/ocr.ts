import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";

/** The languages that are recognised, with their data from npm. */
const languages = ["eng", "por"];

interface RecognizeOptions {
  /** The resolution in dots per inch; without it, what the image says. */
  dpi?: number;
  /** As in EXIF, from 1 to 8. */
  orientation?: number;
  /** Gets what part is done, from 0 to 1. */
  onProgress(fraction: number): void;
}

/** Tesseract in WebAssembly, in this thread: it blocks the event loop, and reports its progress meanwhile. */
export class Ocr {
  readonly #module: TesseractModule;
  readonly #api: TesseractApi;
  #onProgress: (fraction: number) => void = () => {};

  private constructor(module: TesseractModule) {
    this.#module = module;
    for (const language of languages) {
      module.FS.writeFile(`${language}.traineddata`, gunzipSync(readFileSync(dataPath(language))));
    }
    this.#api = new module.TessBaseAPI();
    if (this.#api.Init(null, languages.join("+"), lstmOnly) !== 0) throw new Error("Tesseract cannot be initialised.");
  }

  static async start(): Promise<Ocr> {
    const load = require("tesseract.js-core/tesseract-core-simd-lstm") as LoadTesseract;
    let report = (_percent: number) => {};
    const ocr = new Ocr(
      await load({ TesseractProgress: (percent) => report(percent), print: () => {}, printErr: () => {} }),
    );
    report = (percent) => ocr.#onProgress(percent / 100);
    return ocr;
  }

  /** The text in an image: PNG, JPEG, WebP or PNM. Null when it is damaged. */
  recognize(image: Uint8Array, { dpi = 0, orientation = 1, onProgress }: RecognizeOptions): string | null {
    this.#onProgress = onProgress;
    this.#module.FS.writeFile(imagePath, image);
    this.#api.SetVariable("user_defined_dpi", String(dpi));
    if (this.#api.SetImageFile(orientation, 0) !== 0) return null;
    if (this.#api.Recognize(null) !== 0) return null;
    return this.#api.GetUTF8Text();
  }
}

/** What is used of tesseract.js-core, an Emscripten module without types. */
type LoadTesseract = (options: {
  TesseractProgress(percent: number): void;
  print(line: string): void;
  printErr(line: string): void;
}) => Promise<TesseractModule>;

interface TesseractModule {
  FS: { writeFile(path: string, data: Uint8Array): void };
  TessBaseAPI: new () => TesseractApi;
}

interface TesseractApi {
  Init(dataPath: null, languages: string, engine: number): number;
  SetVariable(name: string, value: string): void;
  /** Reads the image at `/input`. */
  SetImageFile(exifOrientation: number, angle: number): number;
  Recognize(monitor: null): number;
  GetUTF8Text(): string;
}

const require = createRequire(import.meta.url);
const imagePath = "/input";
/** The engine of the data that is loaded. */
const lstmOnly = 1;

function dataPath(language: string): string {
  const folder = dirname(require.resolve(`@tesseract.js-data/${language}/package.json`));
  return join(folder, "4.0.0_best_int", `${language}.traineddata.gz`);
}
