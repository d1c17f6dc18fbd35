-- Facts about a completed file, which a task finds out: null until then, where there are none, and when it fails.
ALTER TABLE files
  -- Pixels of an image or a video, as it is shown.
  ADD COLUMN width integer CHECK (width >= 0),
  ADD COLUMN height integer CHECK (height >= 0),
  -- Of audio and video.
  ADD COLUMN duration_ms integer CHECK (duration_ms >= 0),
  -- Of a PDF.
  ADD COLUMN pages integer CHECK (pages >= 0),
  -- An object beside the file's own, which is deleted with it. It does not count for FILES_QUOTA.
  ADD COLUMN has_thumbnail boolean NOT NULL DEFAULT false;
