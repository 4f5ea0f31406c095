import contextlib
import io
import sqlite3
import unittest
from unittest import mock

import migrate


class MigrateTest(unittest.TestCase):
    def setUp(self) -> None:
        self.log = io.StringIO()
        self.enterContext(contextlib.redirect_stdout(self.log))
        self.database = sqlite3.connect(":memory:")
        self.addCleanup(self.database.close)

    def test_a_new_database_gets_every_step(self) -> None:
        self.assertEqual(migrate.migrate(self.database), 2)
        self.database.execute("INSERT INTO greetings (text) VALUES ('Hello')")
        self.assertEqual(self.database.execute("SELECT text, language FROM greetings").fetchall(), [("Hello", "en")])

    def test_a_second_run_changes_nothing(self) -> None:
        migrate.migrate(self.database)
        self.assertEqual(migrate.migrate(self.database), 2)
        self.assertEqual(self.log.getvalue().count("migrated"), 2)

    def test_a_step_that_fails_is_undone_and_made_again(self) -> None:
        with mock.patch.object(migrate, "STEPS", (migrate.STEPS[0], "CREATE TABLE greetings (id INTEGER)")):
            self.assertRaises(sqlite3.OperationalError, migrate.migrate, self.database)
        self.assertEqual(self.database.execute("PRAGMA user_version").fetchone(), (1,))
        self.assertEqual(migrate.migrate(self.database), 2)


if __name__ == "__main__":
    unittest.main()
