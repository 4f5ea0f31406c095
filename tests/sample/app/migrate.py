"""The sample migration: brings a database to the newest version of its schema.

It can run again, also after it was interrupted: each step and the version after it are one transaction. Old tasks run beside the
new schema, so a step only adds.
"""

import json
import os
import sqlite3

STEPS = (
    "CREATE TABLE greetings (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
    "ALTER TABLE greetings ADD COLUMN language TEXT NOT NULL DEFAULT 'en'",
)


def migrate(database: sqlite3.Connection) -> int:
    """Returns the version of the schema, which is the number of steps that were made."""
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    for number, step in enumerate(STEPS[version:], version + 1):
        with database:
            database.execute("BEGIN")
            database.execute(step)
            database.execute(f"PRAGMA user_version = {number}")
        print(json.dumps({"migrated": number}), flush=True)
    return max(version, len(STEPS))


if __name__ == "__main__":
    # The sample has no database of its own: without a path, it migrates one in memory.
    print(json.dumps({"version": migrate(sqlite3.connect(os.environ.get("DATABASE_PATH", ":memory:")))}), flush=True)
