-- +goose Up
-- Which log each topic's stored offsets belong to. Bases are what is added to an offset of that log, by partition.
CREATE TABLE followed_logs (
    topic      TEXT    NOT NULL PRIMARY KEY,
    cluster_id TEXT    NOT NULL,
    topic_id   TEXT    NOT NULL,
    bases      TEXT    NOT NULL,
    since      INTEGER NOT NULL
);

-- +goose Down
DROP TABLE followed_logs;
