-- What is counted of videos and of fine-tuning.
ALTER TABLE usage ADD COLUMN video_milliseconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN trained BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN video_milliseconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN trained BIGINT NOT NULL DEFAULT 0;
