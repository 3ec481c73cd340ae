-- +goose Up

-- Ids sort by bytes, as on SQLite, whatever the database's locale.
-- The content of a title is the truth; its other columns and the tables below it are what queries and search go by.
CREATE TABLE catalog_titles (
    title_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind         INTEGER          NOT NULL,
    name         TEXT             NOT NULL,
    description  TEXT             NOT NULL,
    year         INTEGER          NOT NULL,
    added_at     BIGINT           NOT NULL,
    maturity_age INTEGER,
    runtime_ms   BIGINT           NOT NULL,
    language     TEXT             NOT NULL,
    revision     BIGINT           NOT NULL UNIQUE,
    deleted      BOOLEAN          NOT NULL,
    content      BYTEA            NOT NULL
);

CREATE TABLE catalog_genres (
    title_id     TEXT COLLATE "C" NOT NULL REFERENCES catalog_titles,
    position     INTEGER          NOT NULL,
    genre        TEXT             NOT NULL,
    PRIMARY KEY (title_id, position)
);
CREATE INDEX catalog_genres_by_genre ON catalog_genres (genre, title_id);

CREATE TABLE catalog_people (
    title_id     TEXT COLLATE "C" NOT NULL REFERENCES catalog_titles,
    position     INTEGER          NOT NULL,
    name         TEXT             NOT NULL,
    role         INTEGER          NOT NULL,
    PRIMARY KEY (title_id, position)
);
CREATE INDEX catalog_people_by_name ON catalog_people (name, title_id);

-- One row a window and country; an empty country stands for every country, until_at 0 for no end.
CREATE TABLE catalog_windows (
    title_id     TEXT COLLATE "C" NOT NULL REFERENCES catalog_titles,
    position     INTEGER          NOT NULL,
    country      TEXT             NOT NULL,
    from_at      BIGINT           NOT NULL,
    until_at     BIGINT           NOT NULL,
    PRIMARY KEY (title_id, position)
);
CREATE INDEX catalog_windows_by_country ON catalog_windows (country, from_at);

-- What can be played: a film under its own id, a series by its episodes. A withdrawn title has none.
CREATE TABLE catalog_playables (
    playable_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title_id     TEXT COLLATE "C" NOT NULL REFERENCES catalog_titles,
    season       BIGINT           NOT NULL,
    episode      BIGINT           NOT NULL,
    name         TEXT             NOT NULL,
    runtime_ms   BIGINT           NOT NULL
);
CREATE INDEX catalog_playables_by_title ON catalog_playables (title_id, season, episode);

-- Titles whose latest revision is not yet on the topic.
CREATE TABLE catalog_outbox (
    revision     BIGINT           NOT NULL PRIMARY KEY,
    title_id     TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES catalog_titles
);

-- The one row is the last revision given out. Who holds its lock is the one who writes.
CREATE TABLE catalog_revision (
    one          INTEGER          NOT NULL PRIMARY KEY CHECK (one = 1),
    revision     BIGINT           NOT NULL
);
INSERT INTO catalog_revision VALUES (1, 0);
