-- +goose Up
-- What a run found of its data before it built anything, and who overruled which check: JSON, empty before that.
ALTER TABLE nightly_runs ADD COLUMN quality TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE nightly_runs DROP COLUMN quality;
