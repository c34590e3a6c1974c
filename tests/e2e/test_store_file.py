"""Files that the server must not serve: one line says why, the exit status is 2, and they stay as they are. And one
that it serves as far as it can be read."""
import glob
import os
import shutil
import sqlite3
import unittest

import grpc
from jobpool.v1 import job_pb2
from jobpool_e2e import BIN, eventually, noop_job
from store_e2e import StoreTest, ahead

Job = job_pb2.Job
PAGE = 4096
JOBS = 300
LARGE = 100_000  # bytes of a payload, with which the file is too large to be checked whole at each start


class Refused(StoreTest):
    def setUp(self):
        super().setUp()
        self.path = f"{self.state}/jobs.db"

    def make(self, clean, payload=b"payload " * 20):
        """A store with jobs, all in its one file, as a server has left it that was shut down (`clean`) or killed."""
        shutil.rmtree(self.state, ignore_errors=True)
        server, client = self.start()
        for i in range(JOBS):
            client.submit(noop_job(payload, schedule_time=ahead(3600)), job_id=f"live-{i}")
        client.run(noop_job(), job_id="ended")
        if clean:
            server.finish()
            self.assertEqual(os.listdir(self.state), ["jobs.db", "jobs.db.lock"])
            return
        server.kill()
        db = sqlite3.connect(self.path)
        self.assertEqual(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0], 0)
        db.close()

    def sql(self, *statements):
        db = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            db.execute(statement)
        db.close()

    def overwrite(self, place, data):
        with open(self.path, "r+b") as file:
            file.seek(place)
            file.write(data)

    def read(self):
        with open(self.path, "rb") as file:
            return file.read()

    def page_of(self, job_id=b"live-100"):
        """Where that begins which has this job's record."""
        data = self.read()
        pages = [data[start:start + PAGE] for start in range(0, len(data), PAGE)]
        (number,) = [i for i, page in enumerate(pages) if job_id in page and page[0] == 13]  # a leaf of a table
        return number * PAGE

    def refused(self, word):
        """Twice, since the first start must not make it look right."""
        before = self.read()
        for _ in range(2):
            self.cannot_start(word)
            self.assertTrue(self.read() == before, "it has been changed")
        log = f"{self.path}-wal"
        self.assertTrue(not os.path.exists(log) or os.path.getsize(log) <= PAGE, "its log has been written")

    def test_bytes_in_the_middle_of_a_page(self):
        for clean in (True, False):
            with self.subTest(clean=clean):
                self.make(clean)
                self.overwrite(self.page_of() + 1000, b"\xff" * 1000)
                self.refused("damaged")

    def test_the_start_of_a_page(self):
        for clean in (True, False):
            with self.subTest(clean=clean):
                self.make(clean)
                self.overwrite(self.page_of(), b"\xff" * 100)
                self.refused("damaged")

    def test_what_only_a_check_finds(self):
        """That is made after a crash."""
        for payload in (b"small", bytes(LARGE)):
            with self.subTest(len(payload)):
                self.make(False, payload)
                self.overwrite(self.page_of() + 7, b"\x3b")  # bytes that are free between cells, which nobody reads
                self.refused("damaged")

    def test_ended_jobs_of_a_large_file(self):
        """Are not looked at by a start: the others, and new ones, can be had meanwhile."""
        server, client = self.start()
        for i in range(JOBS):
            client.run(noop_job(os.urandom(LARGE)), job_id=f"ended-{i}")
        server.finish()
        self.overwrite(self.page_of(b"ended-100") + 100, b"\xff" * (PAGE - 100))
        server, client = self.start()
        self.fails(grpc.StatusCode.DATA_LOSS, client.get, "jobs/ended-100")
        self.fails(grpc.StatusCode.DATA_LOSS, client.submit, noop_job(), job_id="ended-100")
        self.assertEqual(client.get("jobs/ended-200").state, Job.SUCCEEDED)
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
        eventually(lambda: server.metrics().sum("jobpool_store_damaged") == 1, what="the server has noticed")
        eventually(lambda: " error store damaged, restore a backup " in server.log(), what="and says so")

    def test_the_header(self):
        self.make(clean=True)
        self.overwrite(0, b"\xff" * 100)
        self.refused("damaged")

    def test_half_of_it(self):
        self.make(clean=True)
        os.truncate(self.path, os.path.getsize(self.path) // (2 * PAGE) * PAGE)
        self.refused("damaged")

    def test_of_a_newer_server(self):
        self.make(clean=True)
        self.sql("PRAGMA user_version = 99")
        self.refused("a newer server has written it")

    def test_of_another_application(self):
        os.mkdir(self.state)
        self.sql("CREATE TABLE recipes(name)", *(f"INSERT INTO recipes VALUES('{i:01000}')" for i in range(10)))
        self.refused("another application")
        self.sql("PRAGMA application_id = 99")
        self.refused("another application")

    def test_no_database(self):
        for text in (b"Dear diary,\n" * 1000, b"x" * 50):
            shutil.rmtree(self.state, ignore_errors=True)
            os.mkdir(self.state)
            with open(self.path, "wb") as file:
                file.write(text)
            self.cannot_start("damaged")
            self.assertEqual(self.read(), text)

    def test_a_folder_instead(self):
        os.makedirs(self.path)
        self.cannot_start()

    def test_a_file_instead_of_the_folder(self):
        with open(self.state, "w", encoding="ascii"):
            pass
        self.cannot_start()

    def test_a_server_has_it(self):
        server, client = self.start()
        name = client.run(noop_job()).name
        waiting = client.submit(noop_job(schedule_time=ahead(3600))).name
        for _ in range(2):
            self.cannot_start(f"in use by another server (pid {server.pid})")
        self.assertEqual(client.get(name).state, Job.SUCCEEDED)  # the first one did not notice
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
        server.kill()
        _, client = self.start()  # what is left of the lock keeps nobody away
        self.assertLessEqual({name, waiting}, {job.name for job in self.list_all(client)})


class NotAllowed(StoreTest):
    """As a user who may not write. Root may."""

    NOBODY = 65534

    def setUp(self):
        super().setUp()
        self.wrap = ()
        if os.geteuid() == 0:
            os.chmod(self.folder, 0o755)
            shutil.copy(f"{BIN}/jobpoold", self.folder)  # where that user can come to it
            self.wrap = ("setpriv", f"--reuid={self.NOBODY}", f"--regid={self.NOBODY}", "--clear-groups")
            self.program = f"{self.folder}/jobpoold"
            self.assertIsNotNone(shutil.which("setpriv"))

    def refused(self, word="Permission denied"):
        files = {path: os.stat(path) for path in glob.glob(f"{self.folder}/**", recursive=True)
                 if os.path.isfile(path) and not path.endswith(".lock")}
        self.cannot_start(word, wrap=self.wrap)
        for path, before in files.items():
            after = os.stat(path)
            self.assertEqual((after.st_size, after.st_mtime_ns, after.st_mode), (before.st_size, before.st_mtime_ns,
                                                                               before.st_mode), path)

    def test_to_make_the_folder(self):
        os.mkdir(f"{self.folder}/others", 0o555)
        self.state = f"{self.folder}/others/state"
        self.refused()

    def test_to_write_into_the_folder(self):
        os.mkdir(self.state, 0o555)
        self.refused()

    def test_to_write_the_file(self):
        server, client = self.start()
        client.submit(noop_job(schedule_time=ahead(3600)))
        server.finish()
        self.assertEqual(os.stat(f"{self.state}/jobs.db").st_mode & 0o777, 0o600)  # nobody else reads it
        self.assertEqual(os.stat(self.state).st_mode & 0o777, 0o700)
        self.refused()
        os.chmod(self.state, 0o777)
        os.chmod(f"{self.state}/jobs.db.lock", 0o666)
        for mode in (0, 0o444):
            os.chmod(f"{self.state}/jobs.db", mode)
            self.refused("")
        os.chmod(f"{self.state}/jobs.db", 0o600)
        os.chmod(self.state, 0o700)
        self.start()


if __name__ == "__main__":
    unittest.main()
