-- A journal of version 1: one process was killed while it sent the submission s2.
PRAGMA application_id = 1400204865;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE durations (
                account TEXT PRIMARY KEY,
                data BLOB NOT NULL,
                saved_at REAL NOT NULL
            ) WITHOUT ROWID
            ;
INSERT INTO "durations" VALUES('a',X'6475726174696F6E73',1800000100.0);
CREATE TABLE leases (
                account TEXT NOT NULL,
                run TEXT NOT NULL,
                owner TEXT NOT NULL REFERENCES owners (owner) ON DELETE CASCADE,
                taken_at REAL NOT NULL,
                PRIMARY KEY (account, run)
            ) WITHOUT ROWID
            ;
INSERT INTO "leases" VALUES('a','night','gone',1800000000.0);
CREATE TABLE migrations (
                version INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                applied_at REAL NOT NULL
            );
INSERT INTO "migrations" VALUES(1,'first tables',1800000000.0);
CREATE TABLE owners (
                owner TEXT PRIMARY KEY,
                account TEXT NOT NULL,
                host TEXT NOT NULL,
                machine TEXT NOT NULL,
                pid INTEGER NOT NULL,
                joined_at REAL NOT NULL,
                renewed_at REAL NOT NULL,
                expires_at REAL NOT NULL,
                joined_turn INTEGER NOT NULL,
                beat_turn INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID
            ;
INSERT INTO "owners" VALUES('gone','a','host','machine',4711,1800000000.0,1800000000.0,1800000000.0,1,0);
CREATE TABLE submissions (
                seq INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                account TEXT NOT NULL,
                kind TEXT NOT NULL,
                job BLOB NOT NULL,
                digest TEXT NOT NULL,
                run TEXT NOT NULL,
                position INTEGER NOT NULL,
                key TEXT NOT NULL,
                callback_url TEXT,
                state TEXT NOT NULL CHECK (state IN
                    ('planned', 'sending', 'created', 'refused', 'not_sent', 'unknown')),
                task_id TEXT NOT NULL DEFAULT '',
                error TEXT NOT NULL DEFAULT '',
                planned_at REAL NOT NULL,
                changed_at REAL NOT NULL,
                owner TEXT NOT NULL
            );
INSERT INTO "submissions" VALUES(1,'s1','a','suno/music-generate',X'7B2270726F6D7074223A227261696E227D','d','night',0,'k1',NULL,'created','t1','',1800000000.0,1800000001.0,'gone');
INSERT INTO "submissions" VALUES(2,'s2','a','suno/music-generate',X'7B2270726F6D7074223A227261696E227D','d','night',1,'k2',NULL,'sending','','',1800000000.0,1800000001.0,'gone');
INSERT INTO "submissions" VALUES(3,'s3','a','suno/music-generate',X'7B2270726F6D7074223A227261696E227D','d','night',2,'k3',NULL,'refused','','code 422: prompt',1800000000.0,1800000001.0,'gone');
CREATE TABLE tasks (
                seq INTEGER PRIMARY KEY,
                task_id TEXT NOT NULL,
                account TEXT NOT NULL,
                kind TEXT NOT NULL DEFAULT '',
                created_at REAL,
                status TEXT NOT NULL DEFAULT '',
                ended_at REAL,
                raw BLOB NOT NULL DEFAULT x'',
                UNIQUE (task_id, account)
            );
INSERT INTO "tasks" VALUES(1,'t1','a','suno/music-generate',1800000001.0,'success',1800000100.0,X'7B7D');
CREATE INDEX leases_of_owner ON leases (owner);
CREATE UNIQUE INDEX submissions_by_key ON submissions (account, run, key)
                WHERE key <> ''
            ;
CREATE INDEX submissions_by_run ON submissions (run, account);
CREATE INDEX submissions_by_task ON submissions (task_id) WHERE task_id <> '';
CREATE INDEX submissions_open ON submissions (owner)
                WHERE state IN ('planned', 'sending')
            ;
COMMIT;
