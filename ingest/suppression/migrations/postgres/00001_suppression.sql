-- +goose Up
-- One row: the key that profile ids are hashed with, and a number that rises with every change of the list.
CREATE TABLE suppression_state (
    id         BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    generation BIGINT NOT NULL,
    hash_key   TEXT NOT NULL
);

-- The profiles whose events are taken no more: HMACs of their ids, never the ids.
CREATE TABLE suppressed_profiles (
    digest        TEXT NOT NULL PRIMARY KEY,
    suppressed_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE suppressed_profiles;
DROP TABLE suppression_state;
