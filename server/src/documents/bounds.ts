/** Of the file, where a reader needs all of it in memory. */
export const maxFileBytes = 100 * 1024 * 1024;
/** Of the extracted text, in bytes of UTF-8. */
export const maxTextBytes = 16 * 1024 * 1024;
/** Of all parts that are read of an archive, inflated. */
export const maxInflatedBytes = 256 * 1024 * 1024;
/** Of an archive. */
export const maxEntries = 10_000;
/** Pages, sheets or slides. */
export const maxPages = 5_000;
/** Of an image, in pixels; to recognise it takes about 17 bytes for each. */
export const maxPixels = 16_000_000;
/** Of a title, in characters. */
export const maxTitleLength = 200;
/** Open elements within one another, in XML and HTML. */
export const maxDepth = 1_000;
