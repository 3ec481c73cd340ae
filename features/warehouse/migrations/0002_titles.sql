-- Every revision of every title that the catalogue published; the highest revision of a title is what holds.
CREATE TABLE IF NOT EXISTS titles_raw
(
    title_id      String,
    kind          LowCardinality(String),
    name          String,
    year          Int32,
    added_at      DateTime64(6, 'UTC'),
    genres        Array(String),
    maturity_age  Nullable(UInt8),
    runtime_ms    Int64,
    language      LowCardinality(String),
    revision      Int64,
    deleted       Bool,
    proto         String
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY title_id;

-- The titles that stand: the latest revision of each, withdrawn ones left out.
CREATE VIEW IF NOT EXISTS titles AS
SELECT title_id, kind, name, year, added_at, genres, maturity_age, runtime_ms, language, revision, proto
FROM titles_raw FINAL
WHERE NOT deleted;
