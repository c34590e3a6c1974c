"""The table of shutdowns in docs/operations.md, row by row: SIGTERM, how soon the server ends, what callers see, and
what the next server makes of the job."""
import queue
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.rpc import error_details_pb2
from jobpool.v1 import echo_service_pb2, echo_service_pb2_grpc, job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import PATIENCE, ROOT, SLOW, Error, eventually, job_reason, noop_job, sleep_job, unix_time
from test_shutdown import LONG, NOT_SERVING, Shutdown

Job = job_pb2.Job


class Table(Shutdown):
    """A method a row: it prepares, signals, and answers what the callers saw."""

    at = threading.local()  # when things happened in a row: each has a thread of its own

    def test_every_row(self):
        with open(f"{ROOT}/docs/operations.md", encoding="utf-8") as doc:
            _, _, text = doc.read().partition("| there is | it ends | what callers see | after the next start |\n|---|---|---|---|\n")
        lines = text.partition("\n\n")[0].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        ways = {
            "nothing": self.nothing,
            "an important job that runs": self.important,
            "an important job that runs for longer than `--drain_timeout`": self.too_long,
            "a daemon job that runs": self.daemon,
            "queued important jobs": self.queued,
            "queued daemon jobs behind an important one": self.queued_daemons,
            "a job that is scheduled for later": self.scheduled,
            "a job that is queued in a paused pool": self.paused,
            "clients of the echo listener": self.echo_clients,
            "an open `UppercaseText`": self.uppercase,
            "an open `UppercaseText` and an important job": self.uppercase_and_job,
            "an open `StreamJobs` and an important job": self.stream_jobs,
            "an open `WatchJobs`": self.watch_jobs,
            "an open health watch": self.watch,
            "idle connections": self.idle_connections,
            "an important job, and a second signal": self.second_signal,
            "nothing, and a second signal": self.nothing_twice,
        }
        in_memory = "the same, held in memory"
        self.assertEqual([row[0] for row in rows if row[0] != in_memory], list(ways))
        done = []
        with ThreadPoolExecutor(4) as threads:  # they mostly wait
            for there_is, *promised in rows:
                way = way if there_is == in_memory else ways[there_is]
                durability = Job.MEMORY if there_is == in_memory else Job.DISK
                done.append(threads.submit(self.row, way, durability, *promised))
        for row, result in zip(rows, done):
            with self.subTest(row[0]):
                result.result()

    def row(self, way, durability, ends, sees, after):
        drain_timeout = 1
        with tempfile.TemporaryDirectory() as folder:
            state_dir = f"--state_dir={folder}"
            server, client = self.both(state_dir, "--echo_listen=127.0.0.1:0",
                                       drain_timeout=f"{drain_timeout}s" if "drain_timeout" in ends else LONG)
            self.at.__dict__.clear()
            self.at.durability = durability
            self.at.ended = set()  # those of whose ends callers were told
            saw = way(server, client)
            self.ended(server)
            ended = time.time()
            self.assertEqual("; ".join(f"{caller}: {what}" for caller, what in saw.items()), sees)
            due = {"at once": self.at.signal, "with the job": getattr(self.at, "job_end", 0),
                   "at `--drain_timeout`": self.at.signal + drain_timeout}[ends]
            self.assertGreaterEqual(ended, due)
            self.assertLess(ended - due, 4 * SLOW)
            if hasattr(self.at, "job"):
                self.becomes(state_dir, after)
            else:
                self.assertEqual(after, "")

    def becomes(self, state_dir, promised):
        """The job is, where there is a server again, what was promised: at once where callers were told of its
        end, else when that server has had the time to run it."""
        server, client = self.both(state_dir)

        def found():
            try:
                return f"`{Job.State.Name(client.get(self.at.job).state)}`"
            except grpc.RpcError as error:
                return self.refused(error)

        if self.at.job in self.at.ended:
            self.assertEqual(found(), promised)
        else:
            eventually(lambda: found() == promised, what=f"{self.at.job} is {promised}")
        server.signal()
        self.ended(server)

    def signal(self, server):
        self.at.signal = time.time()
        server.signal()

    def told(self, call):
        """How a call ended: the state that its job ended in, or its code; and the reason."""
        try:
            answer = call()
        except grpc.RpcError as error:
            return self.refused(error)
        job = answer.jobs[0] if hasattr(answer, "jobs") else answer
        self.at.job_end = unix_time(job.end_time)
        self.at.ended.add(job.name)
        return ", ".join(f"`{word}`" for word in (Job.State.Name(job.state), job_reason(job)) if word)

    def refused(self, error):
        error = Error(error)
        return f"`{error.code.name}`, `{error.reason}`" if error.details else f"`{error.code.name}` without details"

    def wait_later(self, client, *names):
        return client.jobs.WaitJobs.future(js.WaitJobsRequest(names=names), timeout=2 * PATIENCE)

    def width(self, client):
        return client.pools.GetPool(ps.GetPoolRequest(name="pools/compute")).max_threads

    def nothing(self, server, client):
        client.run(noop_job())
        self.signal(server)
        self.ended(server)
        return {"the next call on an open channel": self.told(lambda: client.run(noop_job()))}

    def of(self, job, name="important"):
        """The job that the row is about."""
        self.at.job = "jobs/" + name
        job.durability = self.at.durability
        return job

    def important(self, server, client):
        run = self.run_later(client, self.of(sleep_job(2 if SLOW == 1 else 15)), "important")
        wait = self.wait_later(client, "jobs/important")
        self.signal(server)
        self.draining(server, client)
        new = self.told(lambda: client.submit(noop_job()))
        self.assertEqual(client.get("jobs/important").state, Job.RUNNING)
        return {"its `RunJob`": self.told(run.result), "its `WaitJobs`": self.told(wait.result),
                "a `GetJob` meanwhile": "answered", "a new `SubmitJob`": new}

    def cancelled(self, server, client, job):
        run = self.run_later(client, self.of(job, "cancelled"), "cancelled")
        wait = self.wait_later(client, "jobs/cancelled")
        self.signal(server)
        return {"its `RunJob`": self.told(run.result), "its `WaitJobs`": self.told(wait.result)}

    def too_long(self, server, client):
        return self.cancelled(server, client, sleep_job(600))

    def daemon(self, server, client):
        return self.cancelled(server, client, sleep_job(600, daemon=True))

    def queued(self, server, client):
        ahead = [self.run_later(client, sleep_job(2, pool="pools/compute"), f"ahead-{i}")
                 for i in range(self.width(client))]
        run = self.run_queued(server, client, self.of(noop_job(), "queued"), "queued")
        wait = self.wait_later(client, "jobs/queued")
        self.assertEqual(client.get("jobs/queued").state, Job.QUEUED)
        self.signal(server)
        told = {"their `RunJob`": self.told(run.result), "their `WaitJobs`": self.told(wait.result)}
        for call in ahead:
            self.told(call.result)
        return told

    def queued_daemons(self, server, client):
        important = [self.run_later(client, sleep_job(600, pool="pools/compute"), f"important-{i}")
                     for i in range(self.width(client))]
        run = self.run_queued(server, client, self.of(noop_job(daemon=True), "queued"), "queued")
        self.signal(server)
        told = self.told(run.result)
        for call in important:
            self.end_job(call)
        return {"their `RunJob`, before that": told}

    def run_queued(self, server, client, job, job_id):
        run = client.jobs.RunJob.future(js.RunJobRequest(job=job, job_id=job_id), timeout=2 * PATIENCE)
        eventually(lambda: server.metrics().sum("jobpool_jobs", pool="compute", state="queued") == 1,
                   what="it is queued")
        return run

    def end_job(self, run):
        """Ends an important one, which has held the shutdown up until now."""
        self.assertFalse(run.done())
        run.cancel()
        self.at.job_end = time.time()

    def connect(self, address):
        connection = socket.create_connection(address.rsplit(":", 1), timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def closed(self, connection):
        """What is read of a connection until the server closes it."""
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return "closed"

    def echo_clients(self, server, client):
        silent = self.connect(server.echo)
        silent.sendall(b"a")
        self.assertEqual(silent.recv(1), b"A")
        run = self.run_later(client, sleep_job(600), "important")
        self.signal(server)
        self.draining(server, client)
        eventually(lambda: self.refuses_connections(server.echo), what="the echo listener is closed")
        silent.sendall(b"b")
        self.assertEqual(silent.recv(1), b"B")
        self.end_job(run)
        self.assertEqual(silent.recv(1), b"")
        return {"one that is connected": "answered, in the end closed", "a new one": "refused"}

    def refuses_connections(self, address):
        try:
            with socket.create_connection(address.rsplit(":", 1), timeout=PATIENCE):
                return False
        except ConnectionRefusedError:
            return True

    def open_uppercase(self, client):
        """A way to say a word, and hear it; and the call."""
        words = queue.SimpleQueue()
        self.addCleanup(words.put, None)
        call = echo_service_pb2_grpc.EchoServiceStub(client.channel).UppercaseText(iter(words.get, None))

        def say():
            words.put(echo_service_pb2.UppercaseTextRequest(text="a"))
            self.assertEqual(next(call).text, "A")

        say()
        return say, call

    def uppercase(self, server, client):
        _, call = self.open_uppercase(client)
        self.signal(server)
        return {"it": self.told(lambda: next(call))}

    def uppercase_and_job(self, server, client):
        run = self.run_later(client, sleep_job(600), "important")
        say, call = self.open_uppercase(client)
        self.signal(server)
        self.draining(server, client)
        say()
        self.end_job(run)
        return {"a message meanwhile": "answered", "then": self.told(lambda: next(call))}

    def waits(self, server, client, job, state):
        run = client.jobs.RunJob.future(js.RunJobRequest(job=self.of(job, "waits"), job_id="waits"),
                                        timeout=2 * PATIENCE)
        eventually(lambda: server.metrics().sum("jobpool_jobs", state=state) == 1, what=f"it is {state}")
        self.signal(server)
        return {"its `RunJob`": self.told(run.result)}

    def scheduled(self, server, client):
        return self.waits(server, client, noop_job(schedule_time={"seconds": int(time.time()) + 3600}), "scheduled")

    def paused(self, server, client):
        client.pools.PausePool(ps.PausePoolRequest(name="pools/compute"))
        return self.waits(server, client, noop_job(), "queued")

    def stream_jobs(self, server, client):
        messages = queue.SimpleQueue()
        self.addCleanup(messages.put, None)
        call = client.jobs.StreamJobs(iter(messages.get, None), timeout=2 * PATIENCE)

        def submit(tag, job, **fields):
            messages.put(js.StreamJobsRequest(
                entries=[{"tag": tag, "request": js.SubmitJobRequest(job=job, **fields)}]))

        def answer(tag):
            (entry,) = next(call).entries
            self.assertEqual(entry.tag, tag)
            return entry

        submit(1, noop_job())
        answer(1)
        submit(2, self.of(sleep_job(2 if SLOW == 1 else 15), "important"), job_id="important")
        eventually(lambda: server.metrics().sum("jobpool_jobs", state="running") == 1, what="it runs")
        self.signal(server)
        self.draining(server, client)
        submit(3, noop_job())
        refusal = answer(3).error
        info = error_details_pb2.ErrorInfo()
        self.assertTrue(refusal.details[0].Unpack(info))
        code = next(code for code in grpc.StatusCode if code.value[0] == refusal.code)
        return {"a job meanwhile": f"`{code.name}`, `{info.reason}`", "its job": self.told(lambda: answer(2).job),
                "then": self.told(lambda: next(call))}

    def watch_jobs(self, server, client):
        watch = client.jobs.WatchJobs(js.WatchJobsRequest(filter="priority = 0", changes_only=True),
                                      timeout=2 * PATIENCE)
        self.assertFalse(next(watch).events)
        self.signal(server)
        last = next(watch)
        self.assertTrue(last.shutting_down and last.resume_token, last)
        return {"it": "a last message", "then": self.told(lambda: next(watch))}

    def watch(self, server, client):
        # By hand, see Client.health: the answers are the bytes of `status: N`.
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=2 * PATIENCE)
        self.assertEqual(next(watch), b"\x08\x01")
        self.signal(server)
        self.assertEqual(next(watch), bytes([8, NOT_SERVING]))
        return {"it": "`NOT_SERVING`, then " + self.told(lambda: next(watch))}

    def idle_connections(self, server, client):
        client.run(noop_job())
        silent = [self.connect(address) for address in (server.grpc, server.http, server.http)]
        silent[2].sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        self.signal(server)
        return dict(zip(("one of gRPC", "one of HTTP", "one with half an HTTP request"), map(self.closed, silent)))

    def second_signal(self, server, client):
        run = self.run_later(client, self.of(sleep_job(600), "long"), "long")
        server.signal()
        self.draining(server, client)
        self.signal(server)
        return {"its `RunJob`": self.told(run.result)}

    def nothing_twice(self, server, client):
        client.run(noop_job())
        self.signal(server)
        server.signal(signal.SIGINT)
        return {}
