/** Files: uploads, who may read them, and their bytes in the object store. */
export { completeUpload } from "./complete.ts";
export { type FileRow, findCompletedFile, findFile, listOwnFiles } from "./file-rows.ts";
export { type AllowedTypes, openAllowedTypes } from "./file-types.ts";
export { deleteFile, linkToFile, openFile } from "./read-file.ts";
export { receiveFile } from "./receive-file.ts";
export { abortStrayUploads, giveUpUploads, removeObjects } from "./sweep.ts";
export { type FileDeps, fileTooLarge, findUpload, type StartedUpload, startUpload } from "./upload.ts";
