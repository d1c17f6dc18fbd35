/** Files: uploads, who may read them, and their bytes in the object store. */
export { completeUpload } from "./complete.ts";
export { type FetchFileDeps, type FetchOutcome, fetchFile } from "./fetch-file.ts";
export { type FileLinks, openFileLinks } from "./file-links.ts";
export { type FileRow, findCompletedFile, findFile, listOwnFiles, rejectFile } from "./file-rows.ts";
export type { FileTasks, StoredFile } from "./file-tasks.ts";
export { type AllowedTypes, openAllowedTypes } from "./file-types.ts";
export { notCompleted } from "./not-completed.ts";
export { deleteFile, linkToFile, linkToThumbnail, type OpenedLink, openFile, openLink } from "./read-file.ts";
export { receiveFile } from "./receive-file.ts";
export { addReceivedFiles, type ReceivedFile, toFilePayload } from "./received-files.ts";
export { type NewFacts, saveFacts } from "./save-facts.ts";
export { notScanned, type ScanFileDeps, scanFile } from "./scan-file.ts";
export { type FileToSend, type FindFileToSend, fileToSend, findRefusedFiles, openFilesToSend } from "./send-file.ts";
export { type ShownFile, showFile, showFiles } from "./show-file.ts";
export { sizeOf } from "./size.ts";
export { abortStrayUploads, giveUpUploads, removeObjects } from "./sweep.ts";
export { type FileDeps, fileTooLarge, findUpload, type StartedUpload, startUpload } from "./upload.ts";
